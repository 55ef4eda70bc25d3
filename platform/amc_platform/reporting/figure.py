"""One picture for a README: a few phrases in rows; the image and each row of the table in columns."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from amc_models.errors import InputError
from amc_platform.evaluation.gallery import Shot, draw_shot
from amc_platform.evaluation.overlay import HIT, MISS, draw_mark, wrapped
from amc_platform.files import atomic_path
from amc_platform.reporting.content import GalleryColumn
from amc_platform.reporting.gallery import GalleryLine, side_by_side, telling

PAPER, INK, QUIET = (255, 255, 255), (28, 28, 32), (120, 120, 128)
GAP, MARGIN, HEAD, TEXT = 14, 28, 44, 190


def write_figure(
    path: str | Path, columns: Sequence[GalleryColumn], *, phrases: int = 4, side: int = 200
) -> None:
    """Draw up to `phrases` phrases as a PNG (atomic), panels `side` px; InputError where there are none."""
    lines = telling(side_by_side(columns), phrases)
    if not lines:
        raise InputError(f"{path}: the gallery is empty; evaluate with evaluation.gallery above 0")
    width = 2 * MARGIN + TEXT + (1 + len(columns)) * (side + GAP)
    picture = Image.new("RGB", (width, 2 * MARGIN + HEAD + len(lines) * (side + GAP) - GAP), PAPER)
    draw = ImageDraw.Draw(picture)
    lefts = [MARGIN + TEXT + GAP + index * (side + GAP) for index in range(1 + len(columns))]
    for left, name in zip(lefts, ["image", *(column.name for column in columns)], strict=True):
        draw.text((left + side / 2, MARGIN), name, font=_font(19), fill=INK, anchor="ma")
    for number, line in enumerate(lines):
        _draw_line(picture, draw, line, lefts, MARGIN + HEAD + number * (side + GAP), side)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _draw_line(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    line: GalleryLine,
    lefts: Sequence[int],
    top: int,
    side: int,
) -> None:
    hit = line.first.hit
    words = wrapped(hit.text, _font(18), TEXT - 10)
    middle = top + side / 2 - 12 * len(words) - 12
    for index, text in enumerate(words):
        draw.text((MARGIN, middle + 24 * index), text, font=_font(18), fill=INK)
    note = f"{hit.kind}{', hard' if hit.hard else ''}"
    draw.text((MARGIN, middle + 24 * len(words) + 5), note, font=_font(14), fill=QUIET)
    _paste(picture, draw_shot(line.first, caption=False, heatmap=False, side=side), (lefts[0], top), side)
    for left, shot in zip(lefts[1:], line.shots, strict=True):
        if shot is not None:
            _paste(picture, draw_shot(shot, caption=False, side=side), (left, top), side)
            _badge(draw, shot, (left + side - 27, top + side - 27))


def _paste(picture: Image.Image, panel: Image.Image, corner: tuple[int, int], side: int) -> None:
    """In the middle of its square: an image need not be one."""
    picture.paste(panel, (corner[0] + (side - panel.width) // 2, corner[1] + (side - panel.height) // 2))


def _badge(draw: ImageDraw.ImageDraw, shot: Shot, corner: tuple[int, int]) -> None:
    x, y = corner
    colour = HIT if shot.hit.hit else MISS
    draw.rounded_rectangle((x, y, x + 22, y + 22), radius=5, fill=colour)
    draw_mark(draw, (x + 5, y + 5), shot.hit.hit, PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
