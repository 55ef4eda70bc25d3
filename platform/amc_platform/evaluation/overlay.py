"""One heatmap drawn on its image: true boxes, pointing target, and whether it hit."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from amc_platform.data.boxes import Box

HIT, MISS = (34, 160, 107), (217, 72, 65)
_INFERNO = np.array(
    [
        *((0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99)),
        *((212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164)),
    ],
    dtype=np.float32,
)
"""Eight anchors of inferno: its lightness rises evenly, so that warmer reads as more, in grey too."""


def colormap(values: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Colours of values in [0, 1]."""
    anchors = np.linspace(0, 1, len(_INFERNO))
    channels = [np.interp(values, anchors, _INFERNO[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def heatmap_overlay(
    image: Image.Image,
    heatmap: Float[np.ndarray, "grid_h grid_w"] | None,
    boxes: Sequence[Box] = (),
    point: tuple[float, float] | None = None,
    caption: str = "",
    hit: bool | None = None,
    *,
    side: int = 256,
    original: tuple[int, int] | None = None,
) -> Image.Image:
    """The image, its longer side `side` px, under the heatmap (scaled to its own minimum and maximum).

    Boxes and point are in pixels of an image of the size `original` (width, height; None: `image`'s), of which
    `image` may be a smaller copy. With a caption, a strip below says it, with a mark for hit or
    miss. Without a heatmap only image, boxes and caption are drawn.
    """
    width, height = original or image.size
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    panel = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if heatmap is not None:
        panel = _blend(panel, heatmap)
    draw = ImageDraw.Draw(panel)
    line = max(1, round(side / 128))
    for box in boxes:
        _frame(draw, tuple(edge * scale for edge in box), size, line)
    if point is not None:
        _target(panel, ((point[0] + 0.5) * scale, (point[1] + 0.5) * scale), side, HIT if hit else MISS)
    return _with_caption(panel, caption, hit) if caption else panel


def _blend(panel: Image.Image, heatmap: Float[np.ndarray, "grid_h grid_w"]) -> Image.Image:
    """Cold parts show the image a little dimmed, hot parts the colour; the object beneath stays readable."""
    low, high = float(heatmap.min()), float(heatmap.max())
    scaled = (heatmap - low) / (high - low) if high > low else np.zeros_like(heatmap)
    smooth = Image.fromarray(scaled.astype(np.float32)).resize(panel.size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth), 0, 1)
    weight = (0.7 * heat**0.8)[..., None]
    pixels = np.asarray(panel, dtype=np.float32) * 0.8
    return Image.fromarray((pixels * (1 - weight) + colormap(heat) * weight).astype(np.uint8))


def _frame(draw: ImageDraw.ImageDraw, box: tuple[float, ...], size: tuple[int, int], line: int) -> None:
    """A white frame on a dark one: visible on any background."""
    x1, y1 = (min(edge - 1, max(0, round(near))) for edge, near in zip(size, box[:2], strict=True))
    x2, y2 = min(size[0] - 1, max(x1, round(box[2]) - 1)), min(size[1] - 1, max(y1, round(box[3]) - 1))
    for grow, colour in ((line, (20, 20, 24)), (0, (255, 255, 255))):
        width = line + 2 * grow
        draw.rectangle((x1 - grow, y1 - grow, x2 + grow, y2 + grow), outline=colour, width=width)


def _target(panel: Image.Image, centre: tuple[float, float], side: int, colour: tuple[int, int, int]) -> None:
    """A round marker, drawn four times larger and reduced: PIL's own circles are jagged."""
    radius, factor = max(4, round(side / 36)), 4
    extent = 2 * (radius + 3)
    mark = Image.new("RGBA", (extent * factor, extent * factor))
    pen, middle = ImageDraw.Draw(mark), extent * factor / 2
    for reach, fill in ((radius + 1.5, (20, 20, 24)), (radius, (255, 255, 255)), (radius * 0.62, colour)):
        near, far = middle - reach * factor, middle + reach * factor
        pen.ellipse((near, near, far, far), fill=(*fill, 255))
    mark = mark.resize((extent, extent), Image.Resampling.LANCZOS)
    panel.paste(mark, (round(centre[0] - extent / 2), round(centre[1] - extent / 2)), mark)


def _with_caption(panel: Image.Image, caption: str, hit: bool | None) -> Image.Image:
    font = ImageFont.load_default(size=13)
    lines = wrapped(caption, font, panel.width - (34 if hit is not None else 16))
    strip = 12 + 17 * len(lines)
    card = Image.new("RGB", (panel.width, panel.height + strip), (250, 250, 248))
    card.paste(panel, (0, 0))
    draw = ImageDraw.Draw(card)
    for number, text in enumerate(lines):
        draw.text((8, panel.height + 6 + 17 * number), text, font=font, fill=(30, 30, 34))
    if hit is not None:
        draw_mark(draw, (card.width - 22, panel.height + 8), hit)
    return card


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines of whole words, none wider than `width` px but for a single long word."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def draw_mark(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], hit: bool, colour: tuple[int, int, int] | None = None
) -> None:
    """A tick or a cross in 12 px, as strokes: a font that lacks these signs would draw a square."""
    x, y = corner
    strokes = [((0, 6), (4, 10)), ((4, 10), (12, 1))] if hit else [((1, 1), (11, 11)), ((11, 1), (1, 11))]
    for (x1, y1), (x2, y2) in strokes:
        draw.line((x + x1, y + y1, x + x2, y + y2), fill=colour or (HIT if hit else MISS), width=3)
