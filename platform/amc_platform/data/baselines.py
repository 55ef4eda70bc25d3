"""What pointing scores without reading the phrase: the numbers that results on a real table must be read against."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from amc_platform.data.boxes import Box, area, center, contains_point_strict
from amc_platform.data.rows import ImageRow

POINTS = 32
"""Fixed points tried along each axis."""


def lattice_hits(boxes: Sequence[Box], width: float, height: float) -> Bool[np.ndarray, "points points"]:
    """Which points of a fixed lattice (y, x) over the image lie in one of the boxes (pixels)."""
    at = (np.arange(POINTS) + 0.5) / POINTS
    hits = np.zeros((POINTS, POINTS), dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        rows, columns = (at * height > y1) & (at * height < y2), (at * width > x1) & (at * width < x2)
        hits |= rows[:, None] & columns
    return hits


def best_point(hits: Int64[np.ndarray, "points points"], phrases: int) -> float:
    """Per cent of phrases that the luckiest point of the lattice hits; it is chosen by looking at the answers."""
    return round(100 * int(hits.max()) / phrases, 2)


class PointTally:
    """Sums over phrases, per split and group (`all`, each kind and each category).

    `centre_of_image` points at the middle of the image. `centre_of_largest_box` points at the middle of the largest box
    that any phrase of the image has: it knows the boxes and not the phrase. `best_fixed_point` is the luckiest of
    32 x 32 points, chosen for each group.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._points: dict[tuple[str, str], Int64[np.ndarray, "points points"]] = {}

    def add(self, row: ImageRow) -> None:
        """Count the phrases of an image that have boxes."""
        boxes = [box for phrase in row.phrases for box in phrase.boxes]
        if not boxes:
            return
        aims = {
            "centre_of_image": (row.width / 2, row.height / 2),
            "centre_of_largest_box": center(max(boxes, key=area)),
        }
        for phrase in (phrase for phrase in row.phrases if phrase.boxes):
            hit = {
                name: any(contains_point_strict(b, *aim) for b in phrase.boxes) for name, aim in aims.items()
            }
            lattice = lattice_hits(phrase.boxes, row.width, row.height)
            for group in dict.fromkeys(("all", phrase.kind, *phrase.categories)):
                at = (phrase.split, group)
                self._counts[*at, "n"] += 1
                self._counts.update({(*at, name): int(is_hit) for name, is_hit in hit.items()})
                self._points[at] = self._points.get(at, np.int64(0)) + lattice

    def percentages(self) -> dict[str, dict[str, dict[str, Any]]]:
        """{split: {group: {"n": phrases, baseline: per cent}}}."""
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for (split, group), hits in sorted(self._points.items()):
            n = self._counts[split, group, "n"]
            table.setdefault(split, {})[group] = {
                "n": n,
                **{
                    name: round(100 * self._counts[split, group, name] / n, 2)
                    for name in ("centre_of_image", "centre_of_largest_box")
                },
                "best_fixed_point": best_point(hits, n),
            }
        return table
