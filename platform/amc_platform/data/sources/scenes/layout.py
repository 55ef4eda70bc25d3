"""Which objects a scene holds and where they lie.

The three layouts leave no short cut: in `grid` and `corner` the colour alone and the shape alone fit
several objects, in `twins` two objects of one colour and shape lie on opposite sides.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from amc_platform.data.boxes import Box
from amc_platform.data.sources.scenes.objects import (
    ALL_PAIRS,
    COLOURS,
    HELD_OUT_PAIRS,
    SHAPES,
    SIZES,
    TEXTURES,
    Pair,
    Scene,
    SceneObject,
)
from amc_platform.data.sources.scenes.stencils import OVERSAMPLING, stencil

UNSEEN = "unseen"
ICONIC = "iconic"
"""Split of scenes with one or two objects, from which words are learned without boxes; never evaluated."""
LAYOUTS = {"grid": 0.4, "corner": 0.3, "twins": 0.3}
CLEARANCE_FRAC = 0.08
"""Least distance, as a share of the image, by which a place or a relation is true or false."""
_POSITION_TRIES = 60


def make_scene(rng: random.Random, split: str, index: int, image_size: int) -> Scene:
    """Draw a scene; in split `unseen` its first object has a pair that the other splits never show."""
    layout = ICONIC if split == ICONIC else rng.choices(list(LAYOUTS), weights=list(LAYOUTS.values()))[0]
    while True:
        pairs = _PAIRS[layout](rng, split == UNSEEN)
        objects = _place(
            rng, [_variant(rng, pair, image_size) for pair in pairs], layout == "twins", image_size
        )
        if objects is not None:
            return Scene(split, index, image_size, layout, objects)


def _quartet(rng: random.Random, unseen: bool, corners: int) -> list[Pair]:
    """(c1,s1), (c1,s2), (c2,s1), (c2,s2): the first held out if `unseen`, else none of `corners`."""
    while True:
        colour, other_colour = rng.sample(list(COLOURS), 2)
        shape, other_shape = rng.sample(SHAPES, 2)
        if unseen:
            colour, shape = rng.choice(sorted(HELD_OUT_PAIRS))
        pairs = [Pair(c, s) for c in (colour, other_colour) for s in (shape, other_shape)]
        distinct = len(set(pairs)) == len(pairs)
        if distinct and (unseen or HELD_OUT_PAIRS.isdisjoint(pairs[:corners])):
            return pairs


def _extra(rng: random.Random, unseen: bool, allowed: Callable[[Pair], bool]) -> Pair:
    return rng.choice([p for p in ALL_PAIRS if allowed(p) and (unseen or p not in HELD_OUT_PAIRS)])


def _grid(rng: random.Random, unseen: bool) -> list[Pair]:
    """Two colours by two shapes, and sometimes one object that shares neither."""
    pairs = _quartet(rng, unseen, corners=4)
    colours, shapes = {p.colour for p in pairs}, {p.shape for p in pairs}
    if rng.random() < 0.5:
        pairs.append(_extra(rng, unseen, lambda p: p.colour not in colours and p.shape not in shapes))
    return pairs


def _corner(rng: random.Random, unseen: bool) -> list[Pair]:
    """The target, one object of its colour, one of its shape, and one or two others; never the fourth."""
    *pairs, fourth = _quartet(rng, unseen, corners=3)
    for _ in range(rng.randint(1, 2)):
        pairs.append(_extra(rng, unseen, lambda p: p not in pairs and p != fourth))
    return pairs


def _twins(rng: random.Random, unseen: bool) -> list[Pair]:
    """Twin, twin, a unique reference, one of their colour, one of their shape, and at times another."""
    twin, same_colour, same_shape, fourth = _quartet(rng, unseen, corners=3)
    taken = [twin, twin, same_colour, same_shape]
    if rng.random() < 0.4 and (unseen or fourth not in HELD_OUT_PAIRS):
        reference = fourth
    else:
        reference = _extra(rng, unseen, lambda p: p not in taken)
    pairs = [twin, twin, reference, same_colour, same_shape]
    if rng.random() < 0.3:
        pairs.append(_extra(rng, unseen, lambda p: p not in pairs))
    return pairs


def _iconic(rng: random.Random, unseen: bool) -> list[Pair]:
    """One object, or two that share neither colour nor shape."""
    first = _extra(rng, unseen, lambda _: True)
    if rng.random() < 0.5:
        return [first]
    return [first, _extra(rng, unseen, lambda p: p.colour != first.colour and p.shape != first.shape)]


_PAIRS: dict[str, Callable[[random.Random, bool], list[Pair]]] = {
    "grid": _grid,
    "corner": _corner,
    "twins": _twins,
    ICONIC: _iconic,
}


@dataclass(frozen=True, slots=True)
class _Variant:
    pair: Pair
    size: str
    texture: str
    diameter_px: float
    width: int
    height: int

    def at(self, x: int, y: int) -> SceneObject:
        box = Box(float(x), float(y), float(x + self.width), float(y + self.height))
        return SceneObject(self.pair, self.size, self.texture, self.diameter_px, box)


def _variant(rng: random.Random, pair: Pair, image_size: int) -> _Variant:
    size = rng.choice(list(SIZES))
    texture = rng.choice(TEXTURES)
    diameter_px = round(rng.uniform(*SIZES[size]) * image_size / 64 * OVERSAMPLING) / OVERSAMPLING
    height, width = stencil(pair.shape, diameter_px, texture).coverage.shape
    return _Variant(pair, size, texture, diameter_px, width, height)


Span = tuple[float, float]
"""Least and greatest centre, as shares of the image."""
ANYWHERE: Span = (0.0, 1.0)


def _place(
    rng: random.Random, variants: list[_Variant], twins: bool, image_size: int
) -> tuple[SceneObject, ...] | None:
    """Objects in the order of `variants`, or None where they found no room."""
    placed: list[SceneObject] = []
    axis, flip = rng.randrange(2), rng.random() < 0.5
    for number, variant in enumerate(variants):
        spans = [ANYWHERE, ANYWHERE]
        if twins and number < 3:
            spans[axis] = _twin_span(number, placed, axis, flip, image_size)
        found = _find_room(rng, variant, spans, placed, image_size)
        if found is None:
            return None
        placed.append(found)
    return tuple(placed)


def _twin_span(number: int, placed: list[SceneObject], axis: int, flip: bool, image_size: int) -> Span:
    """One twin in each half of the image, the reference (number 2) between them, all with clearance."""
    if number < 2:
        first_half = (number == 0) != flip
        return (0.0, 0.5 - CLEARANCE_FRAC) if first_half else (0.5 + CLEARANCE_FRAC, 1.0)
    low, high = sorted(twin.center[axis] / image_size for twin in placed[:2])
    return low + CLEARANCE_FRAC, high - CLEARANCE_FRAC


def _find_room(
    rng: random.Random, variant: _Variant, spans: list[Span], placed: list[SceneObject], image_size: int
) -> SceneObject | None:
    """A whole-pixel position with the centre in `spans` and a pixel of air to the border and to `placed`."""
    ranges: list[tuple[int, int]] = []
    for (low, high), length in zip(spans, (variant.width, variant.height), strict=True):
        # Ceiling and floor, so that the clearance holds exactly and not only up to rounding.
        first = max(1, math.ceil(low * image_size - length / 2))
        last = min(image_size - 1 - length, math.floor(high * image_size - length / 2))
        if first > last:
            return None
        ranges.append((first, last))
    for _ in range(_POSITION_TRIES):
        candidate = variant.at(rng.randint(*ranges[0]), rng.randint(*ranges[1]))
        if all(_apart(candidate.box, other.box) for other in placed):
            return candidate
    return None


def _apart(a: Box, b: Box) -> bool:
    return a.x2 + 1 <= b.x1 or b.x2 + 1 <= a.x1 or a.y2 + 1 <= b.y1 or b.y2 + 1 <= a.y1
