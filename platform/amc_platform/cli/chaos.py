"""`amc chaos`: whether a training that is killed again and again ends as one that is not."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import note, print_json, say
from amc_platform.cli.plan import JsonOption, SetOption, SpecArgument
from amc_platform.search.victims import VICTIMS, Victim

_RUN = (sys.executable, "-c", "from amc_platform.cli.main import main; main()", "run")


def _victims(names: list[str] | None) -> list[Victim]:
    unknown = next((name for name in names or () if name not in VICTIMS), None)
    if unknown:
        raise InputError(f"--of {unknown}: is none of {', '.join(VICTIMS)}")
    return [victim for victim in VICTIMS if not names or victim in names]


def chaos(
    spec: SpecArgument,
    kills: Annotated[int, typer.Option(min=1, help="How often something is killed.")] = 2,
    seed: Annotated[int, typer.Option(help="Draws what is killed, and when.")] = 0,
    of: Annotated[
        list[str] | None,
        typer.Option(help=f"What may be killed, of {', '.join(VICTIMS)}; may be given several times."),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run SPEC undisturbed, then under random kills of workers, command and local Ray, and compare the ends.

    Leaves with 1 where they differ.
    """
    from amc_platform.search.chaos import Chaos

    done, sameness = Chaos.of(_RUN, spec, overrides or [], note).run(kills, seed, _victims(of))
    if as_json:
        print_json({"kills": [asdict(one) for one in done], "same": sameness.same, "found": asdict(sameness)})
    else:
        say(f"{'equal' if sameness.same else 'NOT equal'} after {len(done)} kills: {sameness}")
    if not sameness.same:
        raise typer.Exit(1)
