"""Carrying out a plan: make the table, train what is missing, keep the record up to date meanwhile."""

import fcntl
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from amc_models.errors import InputError
from amc_platform.data.prepare import Progress, prepare
from amc_platform.search.plan import Plan, make_plan
from amc_platform.spec import dump_experiment, flatten, identity, to_mapping
from amc_platform.tracking.follower import JournalFollower, ParentRun, TrialRun
from amc_platform.tracking.opening import open_tracker
from amc_platform.tracking.stamps import stamps
from amc_platform.training.trial import TrialJob
from amc_platform.training.worker import train_on_ray

Tell = Callable[[str], None]


def ready_plan(spec: Path, overrides: Sequence[str], *, fresh: bool, progress: Progress | None) -> Plan:
    """The plan with its table made and, if `fresh`, without the results of earlier runs."""
    plan = make_plan(spec, overrides)
    data = plan.experiment.data
    if data.prepare is not None and not data.table.is_file():
        prepare(data.prepare, data.table, progress=progress)
        plan = make_plan(spec, overrides)
    if fresh:
        for job in plan.jobs:
            shutil.rmtree(job.folder, ignore_errors=True)
    return plan


@contextmanager
def recorded(plan: Plan) -> Iterator[JournalFollower]:
    """A follower that sends the journals of all jobs to the tracker while training goes on."""
    experiment = plan.experiment
    name = experiment.tracking.experiment or f"amc/{experiment.name}"
    tracker = open_tracker(experiment.tracking.kind, experiment.tracking.uri, name, experiment.output)
    text = dump_experiment(experiment)
    protocol = plan.jobs[0].protocol_hash
    tags = stamps() | {"data.hash": plan.data_hash, "protocol.hash": protocol}
    parent = ParentRun(experiment.name, text, identity(to_mapping(experiment)), tags)
    with JournalFollower(tracker, parent=parent) as follower:
        for job in plan.jobs:
            follower.follow(_run_of(job, tags))
        yield follower


def _run_of(job: TrialJob, tags: dict[str, str]) -> TrialRun:
    spec = to_mapping(job.experiment)
    spec.pop("search")
    own = {
        "config.hash": identity(spec),
        "seed": str(job.experiment.seed),
        "world_size": str(job.experiment.cluster.workers),
        "trial": job.name,
    }
    return TrialRun(
        folder=job.folder,
        name=job.label,
        identity=job.identity,
        params={key: str(value) for key, value in flatten(spec).items()},
        tags=tags | own,
    )


def carry_out(plan: Plan, tell: Tell) -> None:
    """Train and evaluate every job that is not done, in one worker group; lines of progress go to `tell`.

    Raises InputError where another process works on the same trial, or for what the user has to mend.
    """
    pending = plan.pending
    if not pending:
        return
    plan.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for job in pending:
            job.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_claimed(job))
            (job.folder / "spec.yaml").write_text(dump_experiment(job.experiment), encoding="utf-8")
        progress = plan.folder / "progress.log"
        progress.write_text("", encoding="utf-8")
        stack.enter_context(_told(progress, tell))
        train_on_ray(pending, plan.experiment.cluster, progress)


@contextmanager
def _claimed(job: TrialJob) -> Iterator[None]:
    """Hold the trial's folder, so that two processes never train one trial at the same time."""
    with (job.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{job.folder}: another amc run trains {job.label}; wait for it, then run this again"
            ) from error
        yield


@contextmanager
def _told(path: Path, tell: Tell) -> Iterator[None]:
    """Pass on lines as workers append them to `path`."""
    stop = threading.Event()

    def follow(file: TextIO) -> None:
        rest = ""
        while True:
            ended = stop.wait(0.5)
            *lines, rest = (rest + file.read()).split("\n")
            for line in lines:
                tell(line)
            if ended:
                return

    with path.open(encoding="utf-8") as file:
        thread = threading.Thread(target=follow, args=(file,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
