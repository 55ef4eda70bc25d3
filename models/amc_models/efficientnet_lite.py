"""EfficientNet-Lite as the package `efficientnet_lite_pytorch` names its layers, and as timm does."""

import re
from collections.abc import Mapping

from torch import Tensor

REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage of lite0; the package counts them through."""
_BLOCK = re.compile(r"_blocks\.(\d+)\._(\w+)\.(.+)")
_ENDS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDING = {
    "expand_conv": "conv_pw",
    "bn0": "bn1",
    "depthwise_conv": "conv_dw",
    "bn1": "bn2",
    "project_conv": "conv_pwl",
    "bn2": "bn3",
}
# The first block has no expansion, and timm calls its last convolution pointwise.
_PLAIN = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `tf_efficientnet_lite0` from the package's; raises KeyError for any other network's."""
    places = [f"{stage}.{block}" for stage, repeats in enumerate(REPEATS) for block in range(repeats)]
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if match := _BLOCK.fullmatch(key):
            number, layer, rest = int(match[1]), match[2], match[3]
            names = _EXPANDING if f"_blocks.{number}._expand_conv.weight" in state else _PLAIN
            renamed[f"blocks.{dict(enumerate(places))[number]}.{names[layer]}.{rest}"] = tensor
        else:
            layer, _, rest = key.partition(".")
            renamed[f"{_ENDS[layer]}.{rest}"] = tensor
    return renamed
