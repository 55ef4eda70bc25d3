"""`amc evaluate`: a checkpoint's pointing accuracy on a table."""

from pathlib import Path
from typing import Annotated

import typer

from amc_platform.cli.console import print_json, print_table, progress
from amc_platform.cli.plan import JsonOption

CheckpointArgument = Annotated[Path, typer.Argument(help="Checkpoint folder.", show_default=False)]


def evaluate(
    checkpoint: CheckpointArgument,
    table: Annotated[Path, typer.Option("--on", help="Grounding table.")],
    protocol: Annotated[str, typer.Option(help="Named evaluation protocol.")] = "scenes",
    split: Annotated[str, typer.Option(help="Split of the table.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Also write the hits, one row a phrase (Parquet).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the pointing accuracy of CHECKPOINT by kind, with 95 % intervals."""
    from amc_models.weights import load_checkpoint
    from amc_platform.data.table import read_rows
    from amc_platform.evaluation import evaluator
    from amc_platform.evaluation.hits import accuracy_table, write_hits
    from amc_platform.evaluation.network import heatmaps_of, image_loader
    from amc_platform.evaluation.protocol import Protocol

    chosen = Protocol.named(protocol)
    model = load_checkpoint(checkpoint).eval()
    rows = read_rows(table, splits={split})
    with progress(f"{split}: images") as report:
        done = 0

        def count(images: int) -> None:
            nonlocal done
            done += images
            report(done, len(rows))

        hits = evaluator.evaluate(
            heatmaps_of(model), rows, chosen, image_loader(model, chosen), progress=count
        )
    if out is not None:
        write_hits(out, hits, chosen)
    groups = accuracy_table(hits)
    if as_json:
        accuracies = {
            name: {"percent": a.percent, "low": a.low, "high": a.high, "hits": a.hits, "total": a.total}
            for name, a in groups.items()
        }
        print_json(
            {"protocol": chosen.name, "protocol_hash": chosen.hash, "split": split, "pointing": accuracies}
        )
        return
    cells = [
        [name, f"{a.percent:.1f}", f"{a.low:.1f} to {a.high:.1f}", str(a.total)] for name, a in groups.items()
    ]
    title = f"Pointing accuracy in per cent, protocol {chosen.name} ({chosen.hash}), split {split}"
    print_table(["phrases", "accuracy", "95 % interval", "n"], cells, title=title)
