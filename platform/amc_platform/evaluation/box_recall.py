"""Recall@1 over proposal boxes (RefCOCO+ with a detector's boxes in the published code)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from amc_platform.data.boxes import Box


def box_score(heatmap: Float[Tensor, "height width"], box: Box) -> float:
    """Sum of the heatmap over the box, divided by the square root of the box's area.

    The slice takes whole pixels (coordinates truncated towards zero); the area is the untruncated one.
    """
    area = (box.x2 - box.x1) * (box.y2 - box.y1)
    if area <= 0:
        return 0.0
    rows = slice(max(0, int(box.y1)), max(0, int(box.y2)))
    columns = slice(max(0, int(box.x1)), max(0, int(box.x2)))
    return float(heatmap[rows, columns].sum()) / area**0.5


def best_proposal(heatmap: Float[Tensor, "height width"], proposals: Sequence[Box]) -> Box | None:
    """The proposal with the highest score above 0, the first of equal ones; None where no score is above 0.

    `heatmap` is at the size of the original image. The published loop kept the previous phrase's box where no
    proposal scored above 0; that carry-over is not reproduced.
    """
    best, best_score = None, 0.0
    for proposal in proposals:
        score = box_score(heatmap, proposal)
        if score > best_score:
            best, best_score = proposal, score
    return best


def pixel_iou(first: Box, second: Box) -> float:
    """Intersection over union in the published convention: a box ends with pixel x2 - 1, and that counts."""
    left, top = max(first.x1, second.x1), max(first.y1, second.y1)
    right, bottom = min(first.x2, second.x2) - 1, min(first.y2, second.y2) - 1
    shared = (right - left + 1) * (bottom - top + 1) if left < right and top < bottom else 0.0
    areas = sum((box.x2 - box.x1) * (box.y2 - box.y1) for box in (first, second))
    return shared / (areas - shared) if shared else 0.0


def recall_hit(heatmap: Float[Tensor, "height width"], proposals: Sequence[Box], truth: Box) -> bool:
    """Whether the best proposal has an IoU of at least 0.5 with the true box; none above 0 is a miss."""
    return is_recalled(best_proposal(heatmap, proposals), [truth])


def is_recalled(chosen: Box | None, truths: Sequence[Box]) -> bool:
    """Whether the chosen box has an IoU of at least 0.5 with a true one; no box is a miss."""
    return chosen is not None and any(pixel_iou(chosen, truth) >= 0.5 for truth in truths)
