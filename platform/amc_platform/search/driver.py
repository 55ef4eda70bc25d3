"""Carrying out a plan: make the table, train what is missing, keep the record up to date meanwhile."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from amc_platform.data.prepare import Progress, prepare
from amc_platform.data.table import is_table
from amc_platform.evaluation.protocol import Protocol
from amc_platform.files import Lock
from amc_platform.search.cost import check_budget
from amc_platform.search.crew import Crew, Tell
from amc_platform.search.dispatch import Dispatcher
from amc_platform.search.estimate import cost_of
from amc_platform.search.ledger import Ledger
from amc_platform.search.overview import Overview, Watcher
from amc_platform.search.plan import Plan, Row, make_plan
from amc_platform.search.tuned import Conductor, InOrder, Tuned
from amc_platform.spec import dump_experiment, flatten, identity, to_mapping
from amc_platform.tracking.follower import JournalFollower, following
from amc_platform.tracking.outbox import Destination, ParentRun
from amc_platform.tracking.records import open_records
from amc_platform.tracking.stamps import stamps
from amc_platform.tracking.stream import TrialRun
from amc_platform.tracking.tracker import DataInput
from amc_platform.training.trial import TrialJob
from amc_platform.training.worker import check_room_early

_TICK_S = 0.1
_SAID_S = 5.0

_stamps = cache(stamps)


@contextmanager
def ledger_of(plan: Plan) -> Iterator[Ledger]:
    """The ledger of a plan's tracking store; what is wrong with the store is told by `close`, and ends nothing."""
    tracking = plan.experiment.tracking
    records = open_records(tracking.kind, tracking.uri, plan.experiment.output)
    ledger = Ledger(records)
    try:
        # Imports are made here, on the main thread; should they fail, the store is one that does not answer.
        with suppress(Exception):
            records.prepare()
        yield ledger
    finally:
        ledger.close()


def ready_plan(spec: Path, overrides: Sequence[str], *, fresh: bool, progress: Progress | None) -> Plan:
    """The plan with its table made and, if `fresh`, without the results of earlier runs.

    Raises InputError, before a table is made, where the cluster has no nodes for the plan.
    """
    plan = make_plan(spec, overrides)
    missing = {
        data.table: data.prepare
        for data in (plan.experiment.data, *(job.experiment.data for job in plan.jobs))
        if data.prepare is not None and not is_table(data.table)
    }
    if missing:
        check_room_early(plan.experiment.cluster)
    for table, source in missing.items():
        prepare(source, table, progress=progress)
    plan = make_plan(spec, overrides) if missing else plan
    if fresh:
        for job in plan.jobs:
            shutil.rmtree(job.folder, ignore_errors=True)
    return plan


@contextmanager
def recorded(plan: Plan) -> Iterator[JournalFollower]:
    """A follower that sends the journals of all jobs to the tracker while training goes on."""
    experiment = plan.experiment
    name = experiment.tracking.experiment or f"amc/{experiment.name}"
    destination = Destination(experiment.tracking.kind, experiment.tracking.uri, name)
    text = dump_experiment(experiment)
    parent = ParentRun(experiment.name, text, identity(to_mapping(experiment)), _tags(plan))
    with following(experiment.output, destination, parent) as follower:
        for job in plan.jobs:
            follower.follow(run_of(job, plan))
        yield follower


def _tags(plan: Plan) -> dict[str, str]:
    protocol = Protocol.find(plan.experiment.evaluation.protocol).hash
    return _stamps() | {"data.hash": plan.data_hash, "protocol.hash": protocol}


def run_of(job: TrialJob, plan: Plan) -> TrialRun:
    """What the tracker is told of a trial."""
    spec, table = to_mapping(job.experiment), job.experiment.data.table
    spec.pop("search")
    own = {
        "config.hash": identity(spec),
        "seed": str(job.experiment.seed),
        "world_size": str(job.experiment.cluster.most),
        "trial": job.name,
    }
    return TrialRun(
        folder=job.folder,
        name=job.label,
        identity=job.identity,
        params={key: str(value) for key, value in flatten(spec).items()},
        tags=_tags(plan) | own,
        inputs=(DataInput(table.stem, plan.data_hash, str(table), "training"),),
    )


def carry_out(
    plan: Plan, ledger: Ledger, follower: JournalFollower, tell: Tell, watch: Callable[[Overview], None]
) -> Plan:
    """Train and evaluate every job that is not settled; returns the plan with what was proposed meanwhile.

    Lines of progress go to `tell`, where everything stands to `watch`, twice a second. Raises InputError for what the
    user has to mend: a loss that diverged ends its own trial only, and is raised when the others are done. Ctrl-C
    (KeyboardInterrupt) and SIGTERM (SystemExit) pause all trials, and are raised again.
    """
    if not plan.pending and not plan.unproposed:
        return plan
    check_budget(cost_of(plan), plan.experiment)
    search = plan.experiment.search
    with _alone(plan, tell), Crew(plan.experiment.cluster, plan.folder, tell, search.max_concurrent) as crew:
        dispatcher = Dispatcher(ledger, crew, plan.settled)
        watcher = Watcher(plan, dispatcher)

        def proposed(row: Row) -> None:
            watcher.add(row)
            for job in row.jobs:
                follower.follow(run_of(job, plan))

        conductor = Tuned(plan, dispatcher, proposed) if search.tuned else InOrder(plan.pending, dispatcher)
        try:
            _until_done(conductor, dispatcher, lambda: watch(watcher.overview()))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                tell("interrupted: saving where each trial stands")
            dispatcher.pause()
            raise
        finally:
            conductor.close()
            dispatcher.leave()
    after = make_plan(plan.source, plan.overrides)
    failure = dispatcher.failure()
    if failure and (not search.tuned or not after.finished.rows):
        raise failure
    return after


def _until_done(conductor: Conductor, dispatcher: Dispatcher, watch: Callable[[], None]) -> None:
    shown = 0.0
    while conductor.busy or dispatcher.busy:
        conductor.step()
        dispatcher.step()
        if time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            watch()
        time.sleep(_TICK_S)
    conductor.step()
    watch()


@contextmanager
def _alone(plan: Plan, tell: Tell) -> Iterator[None]:
    """A search that looks at results is one command's: another one waits, and finds everything done then."""
    lock = Lock(plan.folder / "search.lock")
    if plan.experiment.search.tuned and not lock.take():
        tell(f"{plan.source}: another command conducts this search; waiting for it")
        while not lock.take(wait_s=_SAID_S):
            pass
    try:
        yield
    finally:
        lock.release()
