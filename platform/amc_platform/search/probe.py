"""Measuring how fast trials train before they do: twenty steps of each kind, and nothing kept but their speed."""

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from amc_models.errors import InputError
from amc_platform.evaluation.protocol import Protocol
from amc_platform.search.cost import Speeds, speed_key, speed_of
from amc_platform.search.crew import Crew, Ended
from amc_platform.search.plan import Plan
from amc_platform.spec import EvaluationSpec, Experiment
from amc_platform.tracking.reader import history
from amc_platform.training.orders import give_order
from amc_platform.training.trial import TrialJob

STEPS = 20
_LOG_EVERY = 5
_TICK_S = 0.1


def probe(plan: Plan, tell: Callable[[str], None]) -> dict[str, float]:
    """Measure and keep the speed of every kind of trial that is to be run and of which none has finished.

    Returns pairs a second by speed key. The table must be there. Raises InputError where a probe fails, or where the
    spec states a speed, which would count before the measured one.
    """
    if plan.experiment.budget.pairs_per_second is not None:
        raise InputError(
            f"{plan.source}: budget.pairs_per_second: states the speed already; remove it, or do without --probe"
        )
    speeds = Speeds(plan.experiment.output)
    found = speeds.trained()
    wanted = {key: spec for key, spec in _kinds(plan).items() if key not in found}
    if not wanted:
        return {}
    folder = plan.experiment.output / "probes" / f"work-{uuid.uuid4().hex[:8]}"
    measured: dict[str, float] = {}
    try:
        with Crew(plan.experiment.cluster, plan.folder, tell, 1) as crew:
            for key, spec in wanted.items():
                measured[key] = _measured(crew, _job(plan, key, spec, folder / key))
                speeds.keep(key, measured[key])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return measured


def _kinds(plan: Plan) -> dict[str, Experiment]:
    """One trial of each speed, by its key."""
    specs = [job.experiment for job in plan.pending if not job.trained]
    if plan.unproposed:
        specs.append(plan.experiment)
    return {speed_key(spec): spec for spec in specs if spec.training.steps}


def _job(plan: Plan, key: str, spec: Experiment, folder: Path) -> TrialJob:
    """A training that ends after `STEPS` steps, without validation, evaluation or states on disk."""
    # The last step is never one to stop at: it would be evaluated.
    steps = max(spec.training.steps, STEPS + 1)
    training = {"steps": steps, "log_every": _LOG_EVERY, "checkpoint_every": steps, "early_stopping": None}
    quiet = EvaluationSpec(protocol=spec.evaluation.protocol, gallery=0, filmstrip=0, keep_best=False)
    spec = spec.model_copy(
        update={
            "training": spec.training.model_copy(update=training),
            "evaluation": quiet,
            "tracking": plan.experiment.tracking.model_copy(update={"model": None}),
        }
    )
    return TrialJob("probe", spec.seed, spec, f"probe-{key}", folder, Protocol.find(spec.evaluation.protocol))


def _measured(crew: Crew, job: TrialJob) -> float:
    give_order(job, "stop", after=STEPS)
    crew.start(job)
    ended: list[Ended] = []
    while not ended:
        time.sleep(_TICK_S)
        ended = crew.ended()
    if ended[0].fatal is not None:
        raise ended[0].fatal
    if ended[0].error:
        raise InputError(f"probe: {ended[0].error}")
    return speed_of(history(job.folder))
