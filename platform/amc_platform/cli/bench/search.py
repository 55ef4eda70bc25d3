"""`amc bench search`: what a trial costs beside its training, our way and the naive one."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from amc_platform.cli.console import note, print_json, print_table, say
from amc_platform.cli.plan import JsonOption


def search(
    trials: Annotated[int, typer.Option(min=2, help="Trials in one worker group that is kept.")] = 4,
    naive: Annotated[int, typer.Option(min=1, help="Of them, trials with a worker group each.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Check that both ways give the same weights, then compare them; exit code 1 where not, or above 15 s a trial."""
    from amc_platform.search.benchmark import SearchBenchmark

    with tempfile.TemporaryDirectory(prefix="amc-bench-") as folder:
        result = SearchBenchmark(Path(folder), trials, min(naive, trials)).run(note)
    overhead = result["overhead_s"]
    if as_json:
        print_json(result)
    else:
        say(f"weights of both ways: {'equal to the last bit' if result['equal'] else 'DIFFERENT'}")
        rows = [
            ["one group kept, its start shared by all", f"{overhead['ours']:.1f}"],
            ["one group kept, a trial after the first", f"{overhead['ours_later']:.1f}"],
            ["a TorchTrainer.fit a trial", f"{overhead['naive']:.1f}"],
        ]
        print_table([f"overhead a trial (goal {result['goal_s']:g} s)", "seconds"], rows)
        say(
            f"ratio {result['ratio']:.1f}; wall seconds of {trials} and {result['trials']['naive']} trials without "
            f"their training steps, Ray's start ({result['ray_start_s']:.0f} s) apart, on {result['hardware']}"
        )
    if not result["equal"] or overhead["ours"] > result["goal_s"]:
        raise typer.Exit(1)
