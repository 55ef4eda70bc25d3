"""Galleries set side by side: the same phrase in every row of the table."""

from collections.abc import Sequence
from dataclasses import dataclass

from amc_platform.evaluation.gallery import Shot
from amc_platform.reporting.content import GalleryColumn


@dataclass(frozen=True, slots=True)
class GalleryLine:
    """One phrase, and its shot in each column; None where a column lacks it."""

    first: Shot
    shots: tuple[Shot | None, ...]


def side_by_side(columns: Sequence[GalleryColumn]) -> list[GalleryLine]:
    """The phrases of all columns, in the order in which they first come, each with its shots."""
    found = [{(shot.hit.image_id, shot.hit.text): shot for shot in column.shots} for column in columns]
    firsts: dict[tuple[str, str], Shot] = {}
    for of_column in found:
        for key, shot in of_column.items():
            firsts.setdefault(key, shot)
    return [GalleryLine(first, tuple(of.get(key) for of in found)) for key, first in firsts.items()]


def telling(lines: Sequence[GalleryLine], count: int) -> list[GalleryLine]:
    """Up to `count` lines for one picture, spread over kinds; within a kind hard phrases come first.

    The choice does not look at who hits: a picture of wins only would be an advertisement.
    """
    ranked = sorted(lines, key=lambda line: not line.first.hit.hard)
    turns: dict[str, list[GalleryLine]] = {}
    for line in ranked:
        turns.setdefault(line.first.hit.kind, []).append(line)
    chosen: list[GalleryLine] = []
    while len(chosen) < min(count, len(lines)):
        for queue in turns.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    return chosen
