"""`amc submit`, `amc logs` and `amc stop`: an experiment somewhere else. `amc status` is in its own file."""

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amc_platform.cli.console import note, print_json, say
from amc_platform.cli.plan import JsonOption, SetOption, SpecArgument

if TYPE_CHECKING:
    from amc_platform.jobs.launcher import JobState
    from amc_platform.jobs.record import Job

_STOPS_S = 90.0
"""How long `amc stop` waits for a job that saves where it stands."""
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Name that `amc submit` printed.")]


def submit(
    spec: SpecArgument,
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="Target: infra/clusters/NAME.yaml, or a YAML file.")
    ],
    overrides: SetOption = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Send code that is not committed; runs carry its hash.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Use a Ray cluster that asks nobody for a token.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write what would be sent, and send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run SPEC on another place; prints the job's name, with which status, logs and stop find it."""
    from amc_platform.jobs.submit import submit as send

    job, said = send(spec, to, overrides or [], allow_dirty=allow_dirty, insecure=insecure, send=not dry_run)
    if as_json:
        print_json(job_json(job) | {"said": said})
        return
    say(job.name)
    note(f"{said}; `amc logs {job.name} --follow` shows what it prints")


def logs(
    name: JobArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends; exit code 1 where it failed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what JOB printed."""
    from amc_platform.jobs.launcher import launcher_of
    from amc_platform.jobs.record import find_job

    job = find_job(name)
    launcher = launcher_of(job.target)
    for piece in launcher.log(job, follow=follow):
        if as_json:
            # A line a piece: machines follow too.
            print(json.dumps({"job": job.name, "log": piece}, ensure_ascii=False), flush=True)
        else:
            sys.stdout.write(piece)
            sys.stdout.flush()
    if not follow:
        return
    ended = launcher.state(job)
    note(f"{job.name}: {described(ended)}")
    if ended.state in ("failed", "lost"):
        raise typer.Exit(1)


def stop(name: JobArgument, as_json: JsonOption = False) -> None:
    """Have JOB save where it stands, and end; a job that has ended is left as it is."""
    from amc_models.errors import InputError
    from amc_platform.jobs.launcher import launcher_of
    from amc_platform.jobs.record import find_job

    job = find_job(name)
    launcher = launcher_of(job.target)
    before = launcher.state(job)
    if before.state == "written":
        raise InputError(f"{job.name}: was only written and never sent from here; there is nothing to stop")
    after = before
    if not before.ended:
        launcher.stop(job)
        deadline = time.monotonic() + _STOPS_S
        while not (after := launcher.state(job)).ended and time.monotonic() < deadline:
            time.sleep(1.0)
    if as_json:
        print_json(job_json(job, after))
    else:
        say(f"{job.name}: {described(after)}")


def described(state: "JobState") -> str:
    """`running (process 17)`."""
    return f"{state.state} ({state.detail})" if state.detail else state.state


def job_json(job: "Job", state: "JobState | None" = None) -> dict[str, Any]:
    """What is known of a job."""
    facts = {
        "job": job.name,
        "experiment": job.experiment,
        "to": job.to,
        "kind": job.target.kind,
        "folder": str(job.folder),
        "output": str(job.output),
        "submitted_at": job.submitted_at,
        "source": job.source,
    }
    return facts | ({"state": state.state, "detail": state.detail} if state else {})
