"""What pointing scores without reading the whole phrase: the numbers a result must be read against."""

from collections.abc import Callable
from typing import Any

import numpy as np

from amc_platform.data.baselines import best_point, lattice_hits
from amc_platform.data.boxes import area, contains_point_strict
from amc_platform.data.rows import Phrase
from amc_platform.data.sources.scenes.objects import COLOURS, SHAPES, Scene, SceneObject


class Tally:
    """Sums over phrases, per split and group (a kind, `hard`, or `hard/<kind>`); tallies add up."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str, str], float] = {}
        self.counts: dict[tuple[str, str, str], int] = {}
        self.points: dict[tuple[str, str], Any] = {}

    def add(self, scene: Scene, phrase: Phrase) -> None:
        """Count `phrase` in its kind, and where it is hard in the two groups of hard ones."""
        scores = _scores(scene, phrase)
        hits = lattice_hits(phrase.boxes, scene.image_size, scene.image_size)
        for group in (phrase.kind, *(("hard", f"hard/{phrase.kind}") if phrase.hard else ())):
            for name, score in scores.items():
                key = (phrase.split, group, name)
                self.sums[key] = self.sums.get(key, 0.0) + score
                self.counts[key] = self.counts.get(key, 0) + 1
            at = (phrase.split, group)
            self.points[at] = self.points.get(at, 0) + hits.astype(np.int64)

    def merge(self, other: "Tally") -> None:
        """Add the sums of `other`."""
        for key, total in other.sums.items():
            self.sums[key] = self.sums.get(key, 0.0) + total
            self.counts[key] = self.counts.get(key, 0) + other.counts[key]
        for at, hits in other.points.items():
            self.points[at] = self.points.get(at, 0) + hits

    def percentages(self) -> dict[str, dict[str, dict[str, Any]]]:
        """{split: {group: {"n": phrases, baseline: percent or None where it does not apply}}}."""
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for (split, group), hits in sorted(self.points.items()):
            n = self.counts[split, group, "box_area"]
            row: dict[str, Any] = {"n": n}
            for name in _BASELINES:
                key = (split, group, name)
                row[name] = round(100 * self.sums[key] / self.counts[key], 2) if key in self.counts else None
            row["best_fixed_point"] = best_point(hits, n)
            table.setdefault(split, {})[group] = row
        return table


_BASELINES = ("box_area", "random_object", "right_colour_only", "right_shape_only")


def _scores(scene: Scene, phrase: Phrase) -> dict[str, float]:
    """Expected hits of pointing at a random pixel, and at a random object out of three choices."""
    head = phrase.text.split()
    head = head[: next(i for i, word in enumerate(head) if word in SHAPES) + 1]
    colour = next((word for word in head if word in COLOURS), None)
    scores = {
        "box_area": sum(area(box) for box in phrase.boxes) / scene.image_size**2,
        "random_object": _chance(scene, phrase, lambda o: True),
        "right_shape_only": _chance(scene, phrase, lambda o: o.pair.shape == head[-1]),
    }
    if colour is not None:
        scores["right_colour_only"] = _chance(scene, phrase, lambda o: o.pair.colour == colour)
    return scores


def _chance(scene: Scene, phrase: Phrase, chosen: Callable[[SceneObject], bool]) -> float:
    """Probability that the centre of a uniformly drawn chosen object lies in one of the boxes."""
    hits = [
        any(contains_point_strict(box, *o.center) for box in phrase.boxes) for o in scene.objects if chosen(o)
    ]
    return sum(hits) / len(hits)
