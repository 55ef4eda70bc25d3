"""Accuracies of an evaluation, counted from its hits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from amc_platform.evaluation.groups import GroupsOf, by_image, groups_of_table, images_of, membership
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.statistics import bootstrap


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of phrases; `percent` and its 95 % interval, `low` to `high` (bootstrap over images), are per cent."""

    hits: int
    total: int
    percent: float
    low: float
    high: float


def accuracy_table(
    hits: Iterable[Hit],
    groups_of: GroupsOf = groups_of_table,
    *,
    counts: Callable[[Hit], bool] = lambda hit: hit.hit,
) -> dict[str, Accuracy]:
    """Accuracy by group, sorted by name; `counts` says which phrases count as hits (default: those pointed at)."""
    hits = list(hits)
    if not hits:
        return {}
    names, member = membership(hits, groups_of)
    images = images_of(hits)
    right = member & np.array([counts(hit) for hit in hits], dtype=bool)[:, None]
    intervals = bootstrap(by_image(right, images)[None], by_image(member, images))
    return {
        name: Accuracy(int(number), int(total), 100 * float(number / total), *map(float, 100 * interval))
        for name, number, total, interval in zip(
            names, right.sum(axis=0), member.sum(axis=0), intervals, strict=True
        )
    }
