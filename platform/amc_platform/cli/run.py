"""`amc run` and `amc report`: from a spec to a table and a page."""

from typing import Annotated

import typer

from amc_platform.cli.console import note, print_json, progress, say
from amc_platform.cli.plan import JsonOption, SetOption, SpecArgument


def run(
    spec: SpecArgument,
    overrides: SetOption = None,
    fresh: Annotated[bool, typer.Option(help="Train again what is done already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plan, train, evaluate, track and report SPEC; what is done already is reused."""
    from amc_platform.search.driver import carry_out, ready_plan, recorded

    with progress("scenes") as report_progress:
        made = ready_plan(spec, overrides or [], fresh=fresh, progress=report_progress)
    jobs, pending = made.jobs, made.pending
    note(f"{made.experiment.name}: {len(jobs)} trials, {len(jobs) - len(pending)} done already, {len(pending)} to run")
    with recorded(made) as follower:
        carry_out(made, note)
        _report(made, as_json)
        for name in ("report.md", "report.html"):
            follower.parent_artifact(made.folder / name)
        warnings = follower.close()
    for warning in warnings:
        note(f"tracking: {warning}")


def report(spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Write the table and the page of SPEC again, from results that are there."""
    from amc_platform.search.plan import make_plan

    _report(make_plan(spec, overrides or []), as_json)
