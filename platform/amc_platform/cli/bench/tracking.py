"""`amc bench tracking`: how long one waits for `amc status` and `amc report` where there are many runs."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from amc_platform.cli.console import note, print_json, print_table
from amc_platform.cli.plan import JsonOption

GOAL_S = 2.0


def tracking(
    runs: Annotated[int, typer.Option(min=10, help="Runs in the store.")] = 1000,
    images: Annotated[int, typer.Option(min=1, help="Test images of the experiment that is reported.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Make a store of RUNS runs, then time the commands as a user waits for them; exit code 1 above 2 s."""
    from amc_platform.reporting.benchmark import make_store, seconds

    with tempfile.TemporaryDirectory(prefix="amc-bench-") as folder:
        note(f"making {runs} runs, which takes some minutes for a thousand")
        store = make_store(Path(folder), runs, images)
        commands = {
            "help": ["--help"],
            "status of the folder": ["status", str(store.output)],
            "report of nine runs": ["report", str(store.reported)],
            "replay of nothing": ["track", "replay", str(store.output)],
        }
        scratch = Path(folder) / "compiled"
        taken = {what: seconds(arguments, scratch) for what, arguments in commands.items()}
    late = [what for what, took in taken.items() if took > GOAL_S]
    if as_json:
        print_json({"runs": runs, "images": images, "seconds": taken, "goal_s": GOAL_S, "late": late})
    else:
        rows = [[what, f"{took:.2f}", "late" if what in late else "ok"] for what, took in taken.items()]
        print_table(["command", "seconds", ""], rows, title=f"{runs} runs, {images} test images")
    if late:
        raise typer.Exit(1)
