"""Which of several boxes of one name lies on which side of the others."""

from collections.abc import Sequence

from amc_platform.data.boxes import Box, area, center

MARGIN = 0.1
"""How much further out than the next one an outermost centre lies, as a part of the image's side."""
SAME_OBJECT = 0.5
"""Boxes of one name that overlap by this IoU show one object that was annotated twice."""


def distinct(boxes: Sequence[Box]) -> list[int]:
    """Indices of boxes that show different objects; of an object annotated twice the larger box."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -area(boxes[i])):
        if all(_iou(boxes[index], boxes[other]) < SAME_OBJECT for other in kept):
            kept.append(index)
    return sorted(kept)


def sides(boxes: Sequence[Box], width: int, height: int) -> dict[int, list[str]]:
    """For every box that lies outermost: "left" or "right", "top" or "bottom", and the corner of the two.

    Outermost is the one box whose centre lies furthest out, by MARGIN of the image's side at least.
    """
    centers = [center(box) for box in boxes]
    left, right = _outermost([x for x, _ in centers], MARGIN * width)
    top, bottom = _outermost([y for _, y in centers], MARGIN * height)
    found: dict[int, list[str]] = {}
    for index, side in ((left, "left"), (right, "right"), (top, "top"), (bottom, "bottom")):
        if index is not None:
            found.setdefault(index, []).append(side)
    for said in found.values():
        if len(said) == 2:
            said.append(f"{said[1]} {said[0]}")
    return found


def _outermost(centers: Sequence[float], margin: float) -> tuple[int | None, int | None]:
    if len(centers) < 2:
        return None, None
    order = sorted(range(len(centers)), key=lambda i: centers[i])
    first, second, *_ = order
    *_, before, last = order
    return (
        first if centers[second] - centers[first] >= margin else None,
        last if centers[last] - centers[before] >= margin else None,
    )


def _iou(first: Box, second: Box) -> float:
    both = area(Box(*map(max, first[:2], second[:2]), *map(min, first[2:], second[2:])))
    union = area(first) + area(second) - both
    return both / union if union else 0.0
