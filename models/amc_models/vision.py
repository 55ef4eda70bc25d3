"""Image encoder: the ViT of ALBEF, on timm."""

import itertools
import math
from functools import partial

import torch
from jaxtyping import Float
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from amc_models.config import AlbefConfig
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


class ImageEncoder(VisionTransformer):
    """Pre-norm ViT without head: all tokens, image CLS first, after the final LayerNorm (eps 1e-6).

    Its attention stays fused: the heatmap's second derivative never passes through the image encoder.
    """

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.vision_width,
            depth=config.vision_depth,
            num_heads=config.vision_heads,
            num_classes=0,
            global_pool="",
            embed_layer=PatchEmbed if config.stem == "patch" else ConvolutionStem,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        if config.stem == "convolution":
            assert self.pos_embed is not None
            self.pos_embed.data[:, 1:] = sine_positions(config.grid_size, config.vision_width)
        for block in self.blocks.modules():
            if isinstance(block, nn.Linear):
                nn.init.trunc_normal_(block.weight, std=initial_std(config.vision_width))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - no masks, and shapes instead
        self, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images tokens channels"]:
        """Encode normalised images; tokens = 1 + patches."""
        return self.forward_features(images)


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


# CLIP's pixel statistics, with which the published code normalises.
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def normalise_pixels(
    images: Float[Tensor, "images 3 height width"],
) -> Float[Tensor, "images 3 height width"]:
    """Pixels in [0, 1] to the network's input."""
    mean = torch.tensor(PIXEL_MEAN, dtype=images.dtype, device=images.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, dtype=images.dtype, device=images.device).view(3, 1, 1)
    return (images - mean) / std
