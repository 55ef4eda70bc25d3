"""Antialiased outlines and textures of single objects, drawn four times too large and reduced."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageChops, ImageDraw, ImageFilter

OVERSAMPLING = 4
RIM_FRAC = 0.03
"""Width of the border without ink, as a share of the diameter: textures must not break outlines."""
Point = tuple[float, float]


class Stencil(NamedTuple):
    """Per pixel of the object's tight extent: how much it covers, and how much of it is texture ink."""

    coverage: Float32[np.ndarray, "height width"]
    ink: Float32[np.ndarray, "height width"]


@lru_cache(maxsize=4096)
def stencil(shape: str, diameter_px: float, texture: str) -> Stencil:
    """The stencil of `shape` whose longer side measures `diameter_px`."""
    side = math.ceil(diameter_px) * OVERSAMPLING
    outline = _outline(shape, diameter_px * OVERSAMPLING, side)
    coverage = _reduced(outline)
    rim = round(diameter_px * RIM_FRAC * OVERSAMPLING)
    # A border of zeros, as the filter would not wear the outline off where it touches the canvas.
    padded = Image.new("L", (side + 2 * rim, side + 2 * rim))
    padded.paste(outline, (rim, rim))
    inside = padded.filter(ImageFilter.MinFilter(2 * rim + 1)).crop((rim, rim, rim + side, rim + side))
    ink = _reduced(ImageChops.multiply(_texture(texture, diameter_px, side), inside))
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    extent = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Stencil(coverage[extent], ink[extent])


def _reduced(image: Image.Image) -> Float32[np.ndarray, "height width"]:
    return np.asarray(image.reduce(OVERSAMPLING), dtype=np.float32) / 255


def _outline(shape: str, diameter: float, side: int) -> Image.Image:
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    if shape in ("circle", "ring"):
        draw.ellipse((0, 0, diameter - 1, diameter - 1), fill=255)
        if shape == "ring":
            rim = diameter * 0.27
            draw.ellipse((rim, rim, diameter - 1 - rim, diameter - 1 - rim), fill=0)
    else:
        draw.polygon(_fitted(_POLYGONS[shape], diameter - 1), fill=255)
    return image


def _fitted(points: Sequence[Point], length: float) -> list[Point]:
    """`points` moved to the origin and scaled so that their longer side measures `length`."""
    left, top = min(x for x, _ in points), min(y for _, y in points)
    extent = max(max(x for x, _ in points) - left, max(y for _, y in points) - top)
    return [((x - left) * length / extent, (y - top) * length / extent) for x, y in points]


def _texture(texture: str, diameter_px: float, side: int) -> Image.Image:
    """Slanted bands or staggered dots, spaced by the object's size so that small ones show them too."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    pitch = (2.2 + diameter_px * 0.16) * OVERSAMPLING
    if texture == "striped":
        for offset in np.arange(0.0, 2 * side, pitch):
            draw.line((offset, -1, offset - side, side - 1), fill=255, width=round(pitch * 0.36))
    elif texture == "dotted":
        radius = pitch * 0.27
        for row, y in enumerate(np.arange(pitch * 0.3, side, pitch * 0.8)):
            for x in np.arange(pitch * (0.3 + 0.5 * (row % 2)), side, pitch):
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return image


def _star() -> list[Point]:
    radii = [1.0, 0.42] * 5
    return [(r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5)) for i, r in enumerate(radii)]


def _heart() -> list[Point]:
    turns = [i * 2 * math.pi / 48 for i in range(48)]
    heights = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(16 * math.sin(t) ** 3, -height) for t, height in zip(turns, heights, strict=True)]


def _cross() -> list[Point]:
    a, b = 0.33, 0.67
    top = [(a, 0.0), (b, 0.0), (b, a), (1.0, a), (1.0, b), (b, b)]
    return [*top, *((1.0 - x, 1.0 - y) for x, y in top)]


_POLYGONS: dict[str, Sequence[Point]] = {
    "square": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)],
    "triangle": [(0.5, 0.0), (1.0, 0.92), (0.0, 0.92)],
    "diamond": [(0.38, 0.0), (0.76, 0.5), (0.38, 1.0), (0.0, 0.5)],
    "star": _star(),
    "cross": _cross(),
    "heart": _heart(),
}
