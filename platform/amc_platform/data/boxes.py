"""Boxes in pixels of the original image, and what the published code does with them."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32


class Box(NamedTuple):
    """A region xyxy in pixels; x runs right, y runs down, the far edges are exclusive."""

    x1: float
    y1: float
    x2: float
    y2: float


def area(box: Box) -> float:
    """Area in square pixels; 0 where the box is empty or inverted."""
    return float(max(0, box.x2 - box.x1) * max(0, box.y2 - box.y1))


def center(box: Box) -> tuple[float, float]:
    """(x, y) of the middle."""
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2


def clamp(box: Box, width: int, height: int) -> Box:
    """The whole-pixel box that the published AMC code makes its region mask from.

    The near corner is kept inside the image and the far corner at least at 1, then all four are
    truncated; the result can be empty (x1 == x2), as in the published code.
    """
    corners = (
        math.trunc(min(width - 1, max(0.0, box.x1))),
        math.trunc(min(height - 1, max(0.0, box.y1))),
        math.trunc(min(width, max(1.0, box.x2))),
        math.trunc(min(height, max(1.0, box.y2))),
    )
    return Box(*map(float, corners))


def contains_point_strict(box: Box, x: float, y: float) -> bool:
    """Whether (x, y) lies inside, the four edges excluded (the pointing game's rule)."""
    return box.x1 < x < box.x2 and box.y1 < y < box.y2


def region_mask(boxes: Iterable[Box], width: int, height: int) -> Float32[np.ndarray, "height width"]:
    """1 inside the union of the clamped boxes, 0 elsewhere (the mask M of the paper's eq. 7)."""
    mask = np.zeros((height, width), dtype=np.float32)
    for box in boxes:
        x1, y1, x2, y2 = (int(edge) for edge in clamp(box, width, height))
        mask[y1:y2, x1:x2] = 1.0
    return mask


def part_inside(box: Box, width: int, height: int) -> Box | None:
    """The part of `box` that lies inside the image; None where there is none, or an edge is no finite number."""
    if not all(map(math.isfinite, box)):
        return None
    inside = Box(max(0.0, box.x1), max(0.0, box.y1), min(float(width), box.x2), min(float(height), box.y2))
    return inside if area(inside) > 0 else None
