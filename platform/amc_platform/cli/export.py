"""`amc export`: a checkpoint in the published layout."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from amc_platform.cli.console import say
from amc_platform.cli.evaluate import CheckpointArgument


def export(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(help="File to write (.pth).", show_default=False)],
    layout: Annotated[
        Literal["albef", "amc"], typer.Option(help="Whose keys: one queue pointer, or two.")
    ] = "albef",
) -> None:
    """Write CHECKPOINT as the published code reads it; what it lacks (queues) is as a training would start it."""
    from amc_models.published import export_published
    from amc_models.weights import load_checkpoint

    export_published(load_checkpoint(checkpoint), out, layout)
    say(f"{out}: written in the layout of {layout}")
