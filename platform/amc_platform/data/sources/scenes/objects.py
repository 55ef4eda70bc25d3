"""The words of the scenes and the objects they speak of."""

from dataclasses import dataclass
from typing import NamedTuple

from amc_platform.data.boxes import Box, center

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 36),
    "green": (40, 165, 60),
    "blue": (38, 84, 230),
    "yellow": (244, 218, 40),
    "purple": (130, 46, 196),
    "pink": (255, 126, 186),
    "cyan": (50, 212, 222),
    "white": (246, 246, 246),
}
SIZES: dict[str, tuple[float, float]] = {"small": (13.0, 15.0), "large": (19.0, 22.0)}
"""Diameters in pixels of a 64-pixel image."""
PLAIN = "plain"
"""The texture that has no word."""
TEXTURES = (PLAIN, "striped", "dotted")
PLACES: dict[str, tuple[int, int]] = {
    "on the left": (-1, 0),
    "on the right": (1, 0),
    "at the top": (0, -1),
    "at the bottom": (0, 1),
    "at the top left": (-1, -1),
    "at the top right": (1, -1),
    "at the bottom left": (-1, 1),
    "at the bottom right": (1, 1),
}
"""Side of the image's middle along x and y; 0: any."""
RELATIONS: dict[str, tuple[int, int]] = {
    "above": (0, -1),
    "below": (0, 1),
    "to the left of": (-1, 0),
    "to the right of": (1, 0),
}
"""Side of the other object's centre along x and y."""
FUNCTION_WORDS = ("a", "on", "the", "at", "to", "of")
VOCABULARY: tuple[str, ...] = (
    *FUNCTION_WORDS,
    *("left", "right", "top", "bottom", "above", "below"),
    *SIZES,
    *TEXTURES[1:],
    *COLOURS,
    *SHAPES,
)
"""Every word of the language. No word begins with a vowel sound after "a", so there is no "an"."""


class Pair(NamedTuple):
    """A colour and a shape: what an attribute phrase names at least."""

    colour: str
    shape: str


ALL_PAIRS = tuple(Pair(colour, shape) for colour in COLOURS for shape in SHAPES)
HELD_OUT_PAIRS = frozenset(
    {
        Pair("red", "heart"),
        Pair("green", "triangle"),
        Pair("blue", "star"),
        Pair("yellow", "circle"),
        Pair("purple", "square"),
        Pair("pink", "cross"),
        Pair("cyan", "ring"),
        Pair("white", "diamond"),
    }
)
"""Each colour and each shape once; only the split `unseen` shows them."""


@dataclass(frozen=True, slots=True)
class SceneObject:
    """A drawn object; `box` is the tight extent of its pixels, `diameter_px` a multiple of a quarter."""

    pair: Pair
    size: str
    texture: str
    diameter_px: float
    box: Box

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle of the box, in pixels."""
        return center(self.box)


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects on a square image of `image_size` pixels; boxes are at least one pixel apart."""

    split: str
    index: int
    image_size: int
    layout: str
    objects: tuple[SceneObject, ...]
