"""One phrase over the course of a training, as one picture."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from amc_platform.evaluation.gallery import Shot, draw_shot, read_gallery
from amc_platform.files import atomic_path
from amc_platform.training.callbacks.base import Callback, Training

MOST_FRAMES = 24
SIDE_PX = 160


class Filmstrip(Callback):
    """For the first `evaluation.filmstrip` phrases of the gallery, their heatmaps at all validations side by side.

    Made from the validations' galleries on disk, so that a training that was interrupted has a whole one too. Of very
    many validations the first, the last and some evenly between them are shown.
    """

    def on_end(self, training: Training) -> None:
        """Draw the strips."""
        self._draw(training)

    def on_error(self, training: Training, error: BaseException) -> None:
        """Draw what there is: it may show what went wrong."""
        self._draw(training)

    def _draw(self, training: Training) -> None:
        folders = sorted((training.job.folder / "validation").glob("step-*"))
        if training.journal is None or not folders:
            return
        galleries = [(_steps(folder), read_gallery(folder)) for folder in _evenly(folders, MOST_FRAMES)]
        count = min(training.job.experiment.evaluation.filmstrip, len(galleries[0][1]))
        target = training.job.folder / "filmstrip"
        training.storage.write(lambda: _write(target, galleries, count))
        training.journal.artifact(target, "filmstrip")


def _write(target: Path, galleries: Sequence[tuple[int, Sequence[Shot]]], count: int) -> None:
    with atomic_path(target) as folder:
        folder.mkdir()
        for number in range(count):
            shots = [(steps, shots[number]) for steps, shots in galleries]
            slug = re.sub(r"[^a-z0-9]+", "-", shots[0][1].hit.text.lower()).strip("-")[:40]
            strip(shots).save(folder / f"{number + 1:02d}-{slug}.png")


def strip(shots: Sequence[tuple[int, Shot]]) -> Image.Image:
    """Shots of one phrase, each with its number of steps, beside each other: image, then heatmaps."""
    first = shots[0][1]
    frames = [draw_shot(first, heatmap=False, side=SIDE_PX)]
    for steps, shot in shots:
        captioned = replace(shot, hit=replace(shot.hit, text=f"step {steps}"))
        frames.append(draw_shot(captioned, side=SIDE_PX))
    width = sum(frame.width for frame in frames) + 4 * (len(frames) - 1)
    picture = Image.new("RGB", (width, max(frame.height for frame in frames)), (250, 250, 248))
    left = 0
    for frame in frames:
        picture.paste(frame, (left, 0))
        left += frame.width + 4
    return picture


def _steps(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _evenly(folders: Sequence[Path], most: int) -> list[Path]:
    if len(folders) <= most:
        return list(folders)
    return [folders[round(index * (len(folders) - 1) / (most - 1))] for index in range(most)]
