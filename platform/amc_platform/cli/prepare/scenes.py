"""`amc prepare scenes`: the embedded dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amc_platform.cli import console

if TYPE_CHECKING:
    from amc_platform.data.table import TableInfo


def scenes(
    out: Annotated[Path, typer.Option("--out", help="The table to write, a .parquet file.")],
    train: Annotated[int, typer.Option(help="Images to train on.")] = 4000,
    val: Annotated[int, typer.Option(help="Images to look at while training.")] = 300,
    test: Annotated[int, typer.Option(help="Images to report on.")] = 600,
    unseen: Annotated[
        int, typer.Option(help="Images of colour-shape pairs that training never shows.")
    ] = 300,
    image_size: Annotated[int, typer.Option(help="Height and width of an image, in pixels.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed makes the same table.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if not given.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Generate the embedded scenes: objects on clutter, and phrases that name one of them."""
    from amc_platform.data.prepare import prepare_scenes

    with console.progress("images") as report:
        info = prepare_scenes(
            out,
            train=train,
            val=val,
            test=test,
            unseen=unseen,
            image_size=image_size,
            seed=seed,
            workers=workers,
            progress=report,
        )
    if json:
        console.print_json(
            {
                "table": str(out),
                "content_hash": info.content_hash,
                "source": info.source,
                "counts": info.counts,
                "baselines": info.baselines,
            }
        )
    else:
        _show(out, info)


def _show(out: Path, info: "TableInfo") -> None:
    """Print what is in the table and what a grounder scores that does not read the whole phrase."""
    console.say(f"{out}: {info.counts['images']} images, content {info.content_hash}")
    split = "test" if "test" in info.baselines else next(iter(info.baselines), None)
    if split is None:
        return
    groups = info.baselines[split]
    names = list(next(iter(groups.values())))
    rows = [[group, *(_cell(scores[name]) for name in names)] for group, scores in groups.items()]
    title = f"Pointing accuracy in percent without reading the whole phrase, split {split}"
    console.print_table(["phrases", *(name.replace("_", " ") for name in names)], rows, title=title)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
