"""The pointing game: does the heatmap's maximum fall into a box of the phrase?"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from amc_platform.data.boxes import Box, contains_point_strict
from amc_platform.evaluation.protocol import Protocol


def upsampled(
    heatmaps: Float[Tensor, "phrases grid_h grid_w"], width: int, height: int
) -> Float[Tensor, "phrases h w"]:
    """Heatmaps at the size of the original image: bicubic, align_corners=False, as published."""
    maps = heatmaps[None].float()
    return F.interpolate(maps, size=(height, width), mode="bicubic", align_corners=False)[0]


def first_maxima(maps: Float[Tensor, "phrases h w"]) -> Int[Tensor, "phrases 2"]:
    """Pixel (x, y) of each map's maximum; of several equal ones the first in row-major order."""
    flat = maps.flatten(1).argmax(1)
    width = maps.shape[2]
    return torch.stack([flat % width, flat // width], dim=1)


def points(
    heatmaps: Float[Tensor, "phrases grid_h grid_w"], width: int, height: int
) -> list[tuple[int, int]]:
    """Pointing targets (x, y), in pixels of the original image, of all the phrases of one image."""
    return [(int(x), int(y)) for x, y in first_maxima(upsampled(heatmaps, width, height)).tolist()]


def pointing_target(heatmap: Float[Tensor, "grid_h grid_w"], width: int, height: int) -> tuple[int, int]:
    """Pointing target (x, y) of one heatmap, in pixels of the original image."""
    return points(heatmap[None], width, height)[0]


def is_hit(point: tuple[float, float], boxes: Sequence[Box], protocol: Protocol) -> bool:
    """Whether the point lies strictly inside a box (or inside the enclosing box, as the protocol says)."""
    x, y = point
    if protocol.boxes == "union" and boxes:
        x1, y1, x2, y2 = zip(*boxes, strict=True)
        boxes = [Box(min(x1), min(y1), max(x2), max(y2))]
    return any(contains_point_strict(box, x, y) for box in boxes)
