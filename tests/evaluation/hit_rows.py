"""Hits to count."""

from dataclasses import replace

from amc_platform.data.boxes import Box
from amc_platform.evaluation.hits import Hit

HIT = Hit(
    image_id="a",
    phrase_index=0,
    text="a red star",
    kind="attribute",
    category="",
    split="test",
    hard=True,
    boxes=(Box(1, 2, 3, 4.5), Box(0, 0, 9, 9)),
    size=(64, 48),
    point=(2, 3),
    hit=True,
    score=0.5,
)


def hits_of(kind: str, outcomes: str, *, hard: str = "", category: str = "") -> list[Hit]:
    """One phrase an image; `outcomes` is a string of 1 and 0, and `hard` says h for the hard ones."""
    hard = hard or "." * len(outcomes)
    return [
        replace(
            HIT, image_id=f"{kind}{index}", kind=kind, hit=one == "1", hard=level == "h", category=category
        )
        for index, (one, level) in enumerate(zip(outcomes, hard, strict=True))
    ]
