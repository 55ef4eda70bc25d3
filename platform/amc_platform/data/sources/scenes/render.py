"""Scenes as pixels: a cluttered grey background, and the objects on it."""

import io
import random

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

from amc_platform.data.sources.scenes.objects import COLOURS, Scene
from amc_platform.data.sources.scenes.stencils import stencil

INK_SHADE = 0.3
"""Brightness of stripes and dots, as a share of the object's colour."""


def render(scene: Scene, rng: random.Random) -> UInt8[np.ndarray, "height width 3"]:
    """The scene's pixels, RGB."""
    canvas = _background(scene.image_size, rng)
    for drawn in scene.objects:
        coverage, ink = stencil(drawn.pair.shape, drawn.diameter_px, drawn.texture)
        gain = rng.uniform(0.9, 1.05)
        colour = np.array(
            [c * gain + rng.uniform(-8, 8) for c in COLOURS[drawn.pair.colour]], dtype=np.float32
        )
        paint = colour * (1 - (1 - INK_SHADE) * ink[..., None])
        x1, y1, x2, y2 = (int(edge) for edge in drawn.box)
        under = canvas[y1:y2, x1:x2]
        under += coverage[..., None] * (paint - under)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def encode_png(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Lossless, and quick rather than small: the noise does not compress anyway."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _background(side: int, rng: random.Random) -> Float32[np.ndarray, "height width 3"]:
    """A slope of grey with muted lines and blobs, a faint tint and fine noise; darker than any object."""
    level = rng.uniform(50, 95)
    clutter = Image.new("L", (side, side), round(level))
    draw = ImageDraw.Draw(clutter)
    for _ in range(rng.randint(2, 4)):
        _blob(draw, side, round(level + rng.uniform(-22, 22)), rng)
    for _ in range(rng.randint(3, 6)):
        ends = [rng.uniform(0, side) for _ in range(4)]
        draw.line(ends, fill=round(level + rng.uniform(-30, 34)), width=max(1, side // 64))
    noise = np.random.default_rng(rng.getrandbits(64))
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    slope = rng.uniform(-14, 14) * ramp[:, None] + rng.uniform(-14, 14) * ramp
    grey = np.asarray(clutter, dtype=np.float32) + slope + 4 * noise.standard_normal((side, side), np.float32)
    tint = np.array([rng.uniform(-7, 7) for _ in range(3)], dtype=np.float32)
    return grey[..., None] + tint


def _blob(draw: ImageDraw.ImageDraw, side: int, level: int, rng: random.Random) -> None:
    """An irregular quadrilateral patch: clutter that is none of the shapes."""
    x, y = rng.uniform(0, side), rng.uniform(0, side)
    reach = side * 0.3
    draw.polygon(
        [(x + rng.uniform(-reach, reach), y + rng.uniform(-reach, reach)) for _ in range(4)], fill=level
    )
