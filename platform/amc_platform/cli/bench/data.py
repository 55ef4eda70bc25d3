"""`amc bench data`: what loading costs beside a plain dataset class, and what a training step waits for it."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amc_models.errors import InputError
from amc_platform.cli import console
from amc_platform.cli.plan import JsonOption

if TYPE_CHECKING:
    from amc_platform.data.rows import ImageRow

RATIO_GOAL, WAIT_GOAL = 3.0, 0.02


def data(
    table: Annotated[
        str | None,
        typer.Argument(
            help="Grounding table with images; generated photos if not given.", show_default=False
        ),
    ] = None,
    scenes: Annotated[bool, typer.Option("--scenes", help="Take freshly drawn scenes instead.")] = False,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels, stored and trained; 256, scenes 64.")
    ] = None,
    phrases: Annotated[int, typer.Option(min=1, help="Phrases an image, where they share it.")] = 4,
    images: Annotated[int, typer.Option(min=1, help="Images to take, the table's first.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Training steps whose waiting is measured.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Check that both ways make the same samples, then time them in turns; train the small network for a moment."""
    if scenes and table is not None:
        raise InputError(f"--scenes: {table} is given too; choose one of them")
    from amc_platform.data.benchmark import compare_loading
    from amc_platform.training.benchmark import data_wait_share

    with tempfile.TemporaryDirectory(prefix="amc-bench-") as name:
        folder = Path(name)
        rows = _rows(table, scenes, images, folder)
        speed = compare_loading(rows, folder, image_size or (64 if scenes else 256), phrases)
        result = asdict(speed) | {"data_wait_share": data_wait_share(folder / "prepared.parquet", steps)}
    if as_json:
        console.print_json(result)
    else:
        _show(result)


def _rows(table: str | None, scenes: bool, images: int, folder: Path) -> "list[ImageRow]":
    from amc_platform.data.benchmark import photographs
    from amc_platform.data.prepare import prepare_scenes
    from amc_platform.data.reader import open_rows

    if table is None and not scenes:
        return photographs(images)
    if scenes:
        table = str(folder / "scenes.parquet")
        prepare_scenes(table, train=images, val=0, test=0, unseen=0)
    assert table is not None
    rows = open_rows(table)
    return [rows[index] for index in range(min(images, len(rows)))]


def _show(result: dict[str, Any]) -> None:
    console.say(
        f"{result['compared']} samples compared, equal to the last bit; {result['images']} images of "
        f"{result['original_bytes'] / 1e3:.1f} kB, prepared {result['stored_bytes'] / 1e3:.1f} kB"
    )
    ways = [("plain class, original images", "plain"), ("prepared table", "prepared")]
    ways.append((f"prepared table, {result['phrases_per_image']} phrases an image", "shared"))
    rows = [[label, f"{result[way]:.0f}", f"{result.get(f'{way}_ratio', 1.0):.1f}"] for label, way in ways]
    console.print_table(["samples a second of one core", "", f"ratio (goal {RATIO_GOAL:g})"], rows)
    share = result["data_wait_share"]
    console.say(f"a training step of the small network waits {share:.1%} of its time (goal {WAIT_GOAL:.0%})")
