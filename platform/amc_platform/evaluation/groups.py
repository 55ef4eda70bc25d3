"""Groups of phrases by which an accuracy is told."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from amc_platform.data.boxes import area
from amc_platform.evaluation.hits import Hit

GroupsOf = Callable[[Hit], set[str]]
"""The groups a phrase counts in, `all` among them."""

SMALL, LARGE = 0.08, 0.3
"""Shares of the image below and above which a box is small or large; below the first the paper trains on none."""

_SPATIAL = re.compile(
    r"\b(left|right|top|bottom|upper|lower|above|below|under|over|behind|front|middle|cent(er|re)|corner|between|"
    r"beside|next|near|nearest|closest|far|farthest|furthest|back|side|edge|inside|outside|first|second|third|last)"
    r"(most|hand)?\b",
    re.IGNORECASE,
)


def basic_groups(hit: Hit) -> set[str]:
    """`all`, the kind, each category, and `hard` for hard phrases."""
    return {"all", hit.kind, *hit.categories, *(["hard"] if hit.hard else [])}


def groups_of_table(hit: Hit) -> set[str]:
    """The basic groups, and `hard/<kind>` for hard phrases."""
    return basic_groups(hit) | ({f"hard/{hit.kind}"} if hit.hard else set())


def groups_by_split(hit: Hit) -> set[str]:
    """Those of a table, and the split."""
    return groups_of_table(hit) | {f"split {hit.split}"}


def detailed_groups(hit: Hit) -> set[str]:
    """The basic groups, the split, the size of the (largest) box, the length of the phrase, spatial words or not."""
    share = max((area(box) for box in hit.boxes), default=0.0) / (hit.size[0] * hit.size[1])
    size = "small" if share < SMALL else "large" if share > LARGE else "medium"
    words = len(hit.text.split())
    length = "1-2" if words <= 2 else "3-5" if words <= 5 else "6 or more"
    spatial = "spatial words" if _SPATIAL.search(hit.text) else "no spatial words"
    return basic_groups(hit) | {f"split {hit.split}", f"{size} box", f"{length} words", spatial}


def membership(
    hits: Sequence[Hit], groups_of: GroupsOf
) -> tuple[list[str], Bool[np.ndarray, "phrases groups"]]:
    """The names of all groups in order, and which phrase is in which."""
    of_hits = [groups_of(hit) for hit in hits]
    names = sorted(set[str]().union(*of_hits))
    table = np.zeros((len(hits), len(names)), dtype=bool)
    column = {name: index for index, name in enumerate(names)}
    for row, groups in enumerate(of_hits):
        table[row, [column[name] for name in groups]] = True
    return names, table


def images_of(hits: Sequence[Hit]) -> np.ndarray:
    """For each phrase the number of its image, counted from 0."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(hit.image_id, len(number)) for hit in hits], dtype=np.int64)


def by_image(values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Sums of `values` (a row a phrase) over the phrases of each image."""
    sums = np.zeros((images.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(sums, images, values)
    return sums
