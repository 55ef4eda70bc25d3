"""Image encoder: the ViT of ALBEF, on timm."""

import itertools
import math
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from amc_models.attention import KeysValues, lean_attention
from amc_models.config import AlbefConfig
from amc_models.features import TimmStem
from amc_models.recomputation import recomputed
from amc_models.text import initial_std


class ConvolutionStem(nn.Module):
    """4x4 convolutions of stride 2 down to the patch grid, then a linear map a token.

    A ViT of a few layers learns shapes from linear patches slowly (Xiao et al., "Early Convolutions Help Transformers
    See Better", 2021); the scenes' small network needs them within minutes. An even kernel keeps a token centred on its
    patch, where the heatmap's upsampling puts it; an odd one would shift it half a patch up and left.
    """

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_: object) -> None:
        super().__init__()
        self.num_patches = (img_size // patch_size) ** 2
        halvings = patch_size.bit_length() - 1
        widths = [in_chans, *(max(8, embed_dim >> (halvings - 1 - i)) for i in range(halvings))]
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), nn.GroupNorm(1, b), nn.GELU()
                )
                for a, b in itertools.pairwise(widths)
            )
        )
        self.proj = nn.Conv2d(widths[-1], embed_dim, 1)

    def forward(
        self, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images patches channels"]:
        """Tokens row by row."""
        return self.proj(self.convolutions(images)).flatten(2).transpose(1, 2)


class EncoderBlock(Block):
    """timm's pre-norm block, its attention always lean: the heatmap's second derivative never passes here.

    Normalised tokens and the output of the GELU, half of what a block would keep for its backward pass, are cheap to
    make again.
    """

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - no masks, and shapes instead
        self, tokens: Float[Tensor, "images tokens channels"]
    ) -> Float[Tensor, "images tokens channels"]:
        """x + attention(norm(x)), then x + mlp(norm(x))."""
        # timm allows other modules in their place.
        attention: Any = self.attn
        mlp: Any = self.mlp
        qkv = recomputed(lambda x: attention.qkv(self.norm1(x)), tokens)
        query, key, value = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = lean_attention(query, KeysValues(key, value))
        tokens = tokens + attention.proj(attended.transpose(1, 2).flatten(2))
        wide = recomputed(lambda x: mlp.fc1(self.norm2(x)), tokens)
        return tokens + recomputed(lambda x: mlp.fc2(mlp.act(x)), wide)


class ImageEncoder(VisionTransformer):
    """Pre-norm ViT without head: all tokens, image CLS first, after the final LayerNorm (eps 1e-6)."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.vision_width,
            depth=config.vision_depth,
            num_heads=config.vision_heads,
            num_classes=0,
            global_pool="",
            embed_layer=_stem(config),
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            block_fn=EncoderBlock,
        )
        self.activation_checkpointing = False
        if config.stem == "convolution" or config.vision is not None:
            assert self.pos_embed is not None
            self.pos_embed.data[:, 1:] = sine_positions(config.grid_size, config.vision_width)
        for block in self.blocks.modules():
            if isinstance(block, nn.Linear):
                nn.init.trunc_normal_(block.weight, std=initial_std(config.vision_width))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - no masks, and shapes instead
        self, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images tokens channels"]:
        """Encode normalised images; tokens = 1 + patches."""
        tokens = self._pos_embed(self.patch_embed(images))
        for block in self.blocks:
            tokens = recomputed(block, tokens) if self.activation_checkpointing else block(tokens)
        return self.norm(tokens)


def _stem(config: AlbefConfig) -> Any:
    """What makes tokens of pixels: a class, or one with its network bound."""
    if config.vision is not None:
        return partial(TimmStem, config.vision)
    return PatchEmbed if config.stem == "patch" else ConvolutionStem


def sine_positions(grid_size: int, width: int) -> Float[Tensor, "patches channels"]:
    """Sines and cosines of row and column, as the learnt positions start: sides are told apart from the first step.

    Half the channels each; wave lengths from four grids down to two patches.
    """
    frequencies = torch.logspace(math.log10(0.5 * math.pi / grid_size), math.log10(math.pi), width // 4)
    angles = torch.arange(grid_size)[:, None] * frequencies
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = axis[:, None].expand(-1, grid_size, -1)
    columns = axis[None].expand(grid_size, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def interpolate_positions(
    positions: Float[Tensor, "1 tokens channels"], grid_size: int
) -> Float[Tensor, "1 new_tokens channels"]:
    """Position embedding of a square grid at another size: bicubic (align_corners=False), its CLS row kept.

    `tokens` is 1 + side * side.
    """
    side = math.isqrt(positions.shape[1] - 1)
    cls, grid = positions.split([1, side * side], dim=1)
    grid = grid.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(grid_size, grid_size), mode="bicubic", align_corners=False)
    return torch.cat([cls, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
