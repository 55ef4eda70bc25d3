"""What a plan would take, trial by trial and together: what `amc plan` says before anything starts."""

from dataclasses import dataclass

from amc_platform.search.cost import Cost, Speeds
from amc_platform.search.memory import gib_of
from amc_platform.search.plan import Plan, Row
from amc_platform.training.trial import TrialJob


@dataclass(frozen=True)
class TrialEstimate:
    """Of one trial."""

    row: Row
    job: TrialJob
    left: Cost
    """What is still to be run of it."""
    memory_gib: float
    """Of each worker, as far as it can be counted (see memory.py)."""


def estimate(plan: Plan) -> list[TrialEstimate]:
    """Every trial of `plan`, rows in their order; rows of equal identity have one each. Imports torch."""
    speeds = Speeds(plan.experiment.output).known()
    return [
        TrialEstimate(row, job, job_cost(plan, job, speeds), gib_of(job.experiment))
        for row in plan.rows
        for job in row.jobs
    ]


def cost_of(plan: Plan) -> Cost:
    """Of what is still to be run, each training once, as far as it is known; stopping would make it less."""
    speeds = Speeds(plan.experiment.output).known()
    to_come = plan.unproposed * max(1, len(plan.experiment.search.seeds))
    return Cost.total(
        [
            *(job_cost(plan, job, speeds) for job in plan.jobs),
            *[Cost.of(plan.experiment, 0, speeds)] * to_come,
        ]
    )


def job_cost(plan: Plan, job: TrialJob, speeds: dict[str, float]) -> Cost:
    """Of training what is missing of one trial."""
    steps = job.experiment.training.steps
    ended = plan.settled(job) or job.trained
    return Cost.of(job.experiment, steps if ended else job.steps_saved, speeds)
