"""`amc status`: what runs and how far it is."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amc_platform.cli.console import print_json, print_table, say
from amc_platform.cli.jobs import described, job_json
from amc_platform.cli.plan import JsonOption

if TYPE_CHECKING:
    from amc_platform.jobs.launcher import JobState
    from amc_platform.jobs.record import Job
    from amc_platform.search.status import TrialState


def status(
    place: Annotated[
        str,
        typer.Argument(metavar="[OUTPUT|SPEC|JOB]", help="Folder of results, experiment file, or job."),
    ] = "runs",
    everything: Annotated[
        bool, typer.Option("--all", help="List trials that ended, and new ones, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print, for each experiment, how many trials are done, and of the others how far they are.

    Of a job, also how it stands where it was sent to. Its trials are told of where their folders are seen from here.
    """
    from amc_platform.search.status import summary

    job = _job(place)
    state = _state(job) if job else None
    jobs = [] if job else _jobs_in(Path(place))
    found = _trials_of(job) if job else _states(Path(place), needed=not jobs)
    if as_json:
        about: dict[str, Any] = {"place": place} | (job_json(job, state) if job else {"jobs": jobs})
        print_json(about | {"experiments": summary(found), "trials": [asdict(one) for one in found]})
        return
    if job and state:
        age = _age(max(0.0, time.time() - job.submitted_at))
        say(f"{job.name}: {described(state)}; {job.experiment} on {job.to}, submitted {age}")
    for experiment, counts in summary(found).items():
        said = ", ".join(f"{number} {state}" for state, number in counts.items())
        unsent = sum(one.unsent for one in found if one.experiment == experiment)
        later = f"; {unsent} not wholly sent, which `amc track replay` does" if unsent else ""
        say(f"{experiment}: {said}{later}")
    if jobs:
        say(f"submitted: {', '.join(jobs)}; `amc status JOB` asks how one stands")
    shown = [one for one in found if everything or one.state not in ("done", "stopped", "new")]
    if shown:
        print_table(
            ["trial", "state", "step", "pointing", "seen", "identity"], [_cells(one) for one in shown]
        )
    for one in shown:
        if one.error:
            say(f"{one.trial}: {one.error}")


def _job(place: str) -> "Job | None":
    """The job that `place` names; a folder or a file of that name goes before it."""
    from amc_platform.jobs.record import RECORD, find_job

    path = Path(place)
    is_name = not path.exists() and path.suffix not in (".yaml", ".yml") and len(path.parts) == 1
    return find_job(place) if (is_name and place != "runs") or (path / RECORD).is_file() else None


def _state(job: "Job") -> "JobState":
    from amc_platform.jobs.launcher import launcher_of

    return launcher_of(job.target).state(job)


def _trials_of(job: "Job") -> "list[TrialState]":
    from amc_platform.search.status import states

    if not job.output.is_dir():
        return []
    return [one for one in states(job.output) if one.experiment == job.experiment]


def _jobs_in(place: Path) -> list[str]:
    """Names of the jobs that were submitted from a folder of results."""
    from amc_platform.jobs.record import FOLDER, RECORD

    return sorted(path.parent.name for path in (place / FOLDER).glob(f"*/{RECORD}"))


def _states(place: Path, *, needed: bool) -> "list[TrialState]":
    from amc_models.errors import InputError
    from amc_platform.search.status import states, states_of

    if place.suffix in (".yaml", ".yml"):
        from amc_platform.search.plan import make_plan

        return states_of(make_plan(place))
    found = states(place)
    if needed and not found:
        raise InputError(
            f"{place}: no experiment was run there; name the folder `output` of a spec, or the spec"
        )
    return found


def _cells(one: "TrialState") -> list[str]:
    pointing = "" if one.pointing is None else f"{one.pointing:.1f}"
    seen = "" if one.seen_s is None else _age(one.seen_s)
    return [one.trial, one.state, f"{one.step}/{one.steps}", pointing, seen, one.identity]


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
