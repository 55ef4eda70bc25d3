"""`amc plan`: what an experiment would run, before anything starts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from amc_platform.cli.console import note, print_json, print_table

SpecArgument = Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change a field; may be given several times."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def plan(spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Print the trials of SPEC: what differs, seed, steps, state and identity."""
    from amc_platform.search.plan import UNKNOWN, make_plan

    made = make_plan(spec, overrides or [])
    trials: list[dict[str, Any]] = [
        {
            "trial": row.name or made.experiment.name,
            "seed": job.seed,
            "changes": row.changes,
            "steps": job.experiment.training.steps,
            "state": job.state,
            "identity": job.identity,
        }
        for row in made.rows
        for job in row.jobs
    ]
    if as_json:
        print_json({"name": made.experiment.name, "data_hash": made.data_hash, "trials": trials})
        return
    cells = [
        [
            str(trial["trial"]),
            str(trial["seed"]),
            ", ".join(f"{path}={value}" for path, value in trial["changes"].items()) or "-",
            str(trial["steps"]),
            str(trial["state"]),
            str(trial["identity"]),
        ]
        for trial in trials
    ]
    print_table(["trial", "seed", "changes", "steps", "state", "identity"], cells, title=made.experiment.name)
    if made.data_hash == UNKNOWN:
        note(f"{made.experiment.data.table} is made first; identities follow from its content")
