"""`amc track`: what the tracker has not taken yet."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from amc_platform.cli.console import note, print_json, say
from amc_platform.cli.plan import JsonOption

app = typer.Typer(no_args_is_help=True, help="Send what is recorded on disk to the tracker.")


@app.callback()
def track() -> None:
    """Hold the verbs."""


@app.command("replay")
def replay(
    output: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("runs"),
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to try for each experiment.")] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Send what an outage or a killed command left unsent; what was sent stays. Exit code 1 where some is left."""
    from amc_models.errors import InputError
    from amc_platform.tracking import replay as replaying

    if not replaying.outboxes(output.absolute()):
        raise InputError(f"{output}: no experiment was run there; name the folder `output` of a spec")
    outcomes = list(replaying.replay(output, timeout, note))
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            sent = outcome.sent
            say(
                f"{outcome.experiment}: {outcome.runs} runs, {sent.points} points, {sent.artifacts} artifacts and "
                f"{sent.models} models sent to {outcome.destination}"
            )
            for warning in outcome.warnings:
                note(f"tracking: {warning}")
        if not outcomes:
            say("nothing is left to send")
    if any(outcome.warnings for outcome in outcomes):
        raise typer.Exit(1)
