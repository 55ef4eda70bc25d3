"""The pointing game: does the heatmap's maximum fall into a box of the phrase?"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from amc_platform.data.boxes import Box, contains_point_strict
from amc_platform.evaluation.protocol import Protocol

ROUNDING = 1e-5
"""More than float32 can lose in an interpolation, as a share of the largest value."""


def upsampled(
    heatmaps: Float[Tensor, "phrases grid_h grid_w"], width: int, height: int
) -> Float[Tensor, "phrases h w"]:
    """Heatmaps at the size of the original image: bicubic, align_corners=False, float32 on the CPU, as published."""
    maps = heatmaps[None].float().cpu()
    return F.interpolate(maps, size=(height, width), mode="bicubic", align_corners=False)[0]


def points(
    heatmaps: Float[Tensor, "phrases grid_h grid_w"], width: int, height: int
) -> list[tuple[int, int]]:
    """Pointing targets (x, y) of the phrases of one image: the first pixel, row by row, where `upsampled` is largest.

    To the last bit as if the whole of it had been made, which for a photograph takes 2 to 4 times as long:
    interpolation is separable and torch does columns last, so that any of them can be had alone.
    """
    columns = upsampled(heatmaps, width, heatmaps.shape[1])
    return [_first_maximum(of_phrase, height) for of_phrase in columns]


def pointing_target(heatmap: Float[Tensor, "grid_h grid_w"], width: int, height: int) -> tuple[int, int]:
    """Pointing target (x, y) of one heatmap, in pixels of the original image."""
    return points(heatmap[None], width, height)[0]


def _first_maximum(columns: Float[Tensor, "grid_h width"], height: int) -> tuple[int, int]:
    """The first maximum once `columns` are interpolated to `height`; those that cannot hold it stay as they are."""
    peak = columns.amax(dim=0).argmax()
    reached = _interpolated(columns[:, peak, None], height).max()
    candidates = (_ceiling(columns) >= reached).nonzero()[:, 0]
    pixels = _interpolated(columns[:, candidates], height)
    # torch.argmax gives the first of equal ones; leaving columns out does not change their order.
    y, x = divmod(int(pixels.argmax()), len(candidates))
    return int(candidates[x]), y


def _ceiling(columns: Float[Tensor, "grid_h width"]) -> Float[Tensor, " width"]:
    """What no pixel of an interpolated column exceeds.

    Between samples v1 and v2 the cubic weighs v0 and v3, their neighbours, with -3/4 t (1 - t) in all, at t = 1/2 the
    most: it stays below high + 3/16 (high - low), where high is the larger of v1 and v2, low the smaller of v0 and v3.
    """
    v0, v1, v2, v3 = torch.cat([columns[:1]] * 2 + [columns] + [columns[-1:]] * 2).unfold(0, 4, 1).unbind(-1)
    high, low = torch.maximum(v1, v2), torch.minimum(v0, v3)
    above = high + 3 / 16 * (high - low).clamp(min=0)
    return above.amax(dim=0) + ROUNDING * columns.abs().max()


def _interpolated(columns: Float[Tensor, "grid_h width"], height: int) -> Float[Tensor, "height width"]:
    return upsampled(columns[None], columns.shape[1], height)[0]


def is_hit(point: tuple[float, float], boxes: Sequence[Box], protocol: Protocol) -> bool:
    """Whether the point lies strictly inside a box (or inside the enclosing box, as the protocol says)."""
    x, y = point
    if protocol.boxes == "union" and boxes:
        x1, y1, x2, y2 = zip(*boxes, strict=True)
        boxes = [Box(min(x1), min(y1), max(x2), max(y2))]
    return any(contains_point_strict(box, x, y) for box in boxes)
