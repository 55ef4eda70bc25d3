"""A feature map of any timm network as the tokens of our image encoder."""

import difflib
from typing import Any, Literal, Self

import timm
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from amc_models.config import TimmVision
from amc_models.errors import InputError
from amc_models.pixels import renormalised

Padding = Literal["same", "symmetric", "none"]
"""Where strided convolutions look: further right and down, further left and up, or neither."""


class TimmStem(nn.Module):
    """A level of a timm network, projected to tokens row by row: the sibling of our stems.

    The statistics of batch normalisation are frozen: a batch of photos does not change them, and all workers keep the
    same ones. Strided convolutions that pad centre a feature about half a token off its patch, so the image is padded
    by as much and the surplus row and column are dropped: token (r, c) looks at patch (r, c).
    """

    def __init__(
        self, vision: TimmVision, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_: object
    ) -> None:
        super().__init__()
        self.num_patches = (img_size // patch_size) ** 2
        self.patch_size = patch_size
        self.network: Any = build_network(vision.timm)
        statistics = self.network.pretrained_cfg
        self._mean, self._std = tuple(statistics["mean"]), tuple(statistics["std"])
        channels, self._level = _level(self.network, vision, patch_size)
        self.network.prune_intermediate_layers([self._level], prune_norm=True, prune_head=True)
        self._padding = padding_of(self.network)
        self.proj = nn.Conv2d(channels, embed_dim, 1)

    def train(self, mode: bool = True) -> Self:
        """As always, but that batch normalisation keeps its statistics."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(
        self, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images patches channels"]:
        """Tokens row by row of normalised images."""
        pixels = renormalised(images, self._mean, self._std)
        if self._padding != "none":
            # Zeros are the mean colour, with which the network's own convolutions pad.
            pixels = F.pad(pixels, [self.patch_size // 2] * 4)
        (features,) = self.network.forward_intermediates(
            pixels, indices=[self._level], stop_early=True, intermediates_only=True
        )
        first = int(self._padding == "symmetric")
        rows, columns = (first + side // self.patch_size for side in images.shape[2:])
        return self.proj(features[:, :, first:rows, first:columns]).flatten(2).transpose(1, 2)


def build_network(name: str) -> Any:
    """The whole timm network `name` with random weights; nothing is looked for anywhere but in timm.

    A transformer takes images of any size: it interpolates its positions. Raises InputError for a name that timm does
    not have, and for a network without feature maps or of a fixed image size.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        remedy = f"did you mean {near[0]}?" if near else "timm.list_models() lists them"
        raise InputError(f"model.vision.timm: timm has no network '{name}'; {remedy}")
    network: Any
    try:
        network = timm.create_model(name, pretrained=False, dynamic_img_size=True)
    except TypeError:
        # No transformer of the ordinary kind: no such option.
        network = timm.create_model(name, pretrained=False)
        if network.pretrained_cfg.get("fixed_input_size"):
            raise InputError(
                f"model.vision.timm: {name} takes images of one size only; choose a convolutional network or a ViT"
            ) from None
    if not (hasattr(network, "forward_intermediates") and hasattr(network, "prune_intermediate_layers")):
        raise InputError(
            f"model.vision.timm: {name} gives no feature maps (forward_intermediates); choose another network"
        )
    return network


def _level(network: Any, vision: TimmVision, patch_size: int) -> tuple[int, int]:
    """Channels and index (from 0) of the chosen level. Raises InputError where it does not fit `patch_size`."""
    strides = [info["reduction"] for info in network.feature_info]
    if not -len(strides) <= vision.out_index < len(strides):
        raise InputError(
            f"model.vision.out_index: {vision.out_index}, but {vision.timm} has {len(strides)} levels, of strides "
            f"{', '.join(map(str, strides))}; choose one from 0 to {len(strides) - 1}"
        )
    level = vision.out_index % len(strides)
    if strides[level] != patch_size:
        raise InputError(
            f"model.patch_size: {patch_size}, but level {level} of {vision.timm} has a feature every "
            f"{strides[level]} pixels; write patch_size: {strides[level]}, or choose another model.vision.out_index"
        )
    return network.feature_info[level]["num_chs"], level


def padding_of(network: nn.Module) -> Padding:
    """How strided convolutions pad: as TensorFlow's, on both sides alike, or so that it does not matter."""
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and max(m.stride) > 1]
    if any(isinstance(convolution, Conv2dSame) for convolution in strided):
        return "same"
    # A shortcut through an even pool is centred, and moves what the convolutions beside it shift nearly back.
    centred = any(isinstance(m, nn.AvgPool2d) and m.stride in (2, (2, 2)) for m in network.modules())
    overlapping = any(convolution.kernel_size > convolution.stride for convolution in strided)
    return "symmetric" if overlapping and not centred else "none"
