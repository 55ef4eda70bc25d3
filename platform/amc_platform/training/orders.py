"""Ending a training before its last step: ordered by the driver, obeyed by returning.

A worker that Tune or Ray kills was seen to keep its resources and to hang the next trial; a loop that returns cannot.
"""

from typing import cast

from amc_models.albef import Albef
from amc_platform.files import write_text
from amc_platform.training.callbacks.base import Callback, Evaluation, Order, StepEnd, Training
from amc_platform.training.distributed import Answer
from amc_platform.training.trial import TrialJob


def give_order(job: TrialJob, order: Order, *, after: int = 0) -> None:
    """Let `job` end once it has trained `after` steps: `stop` for good, or `pause` with its state saved."""
    write_text(job.order, f"{order} {after}")


def withdraw_order(job: TrialJob) -> None:
    """Forget what was ordered before."""
    job.order.unlink(missing_ok=True)


class Orders(Callback):
    """Looks for an order where ranks meet anyway: at every record of the losses and every validation.

    Rank 0 reads, all agree, so that every rank leaves after the same step. The last step is never the one: what is
    trained is evaluated. An order to pause may come with a machine that is taken away: it is looked for at every step
    and obeyed one step later, so that no step waits for the answer.
    """

    def __init__(self) -> None:
        self._pause: Answer | None = None

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """Look for a pause, and for every order where the losses are recorded."""
        asked = self._pause
        self._pause = training.group.most(int(training.group.leads and _pauses(training.job, step.steps)))
        if training.job.logs(step.steps):
            self._look(training, step.steps)
        if (
            asked is not None
            and asked.read()
            and not training.order
            and step.steps < training.job.experiment.training.steps
        ):
            training.order = "pause"

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """Look, after a validation."""
        if not evaluation.final:
            self._look(training, evaluation.steps)

    def _look(self, training: Training, steps: int) -> None:
        if steps < training.job.experiment.training.steps:
            own = _ordered(training.job, steps) if training.group.leads else None
            training.order = cast(Order | None, training.group.gather(own)[0])


def _pauses(job: TrialJob, steps: int) -> bool:
    return _ordered(job, steps) == "pause"


def _ordered(job: TrialJob, steps: int) -> Order | None:
    try:
        order, _, after = job.order.read_text(encoding="utf-8").partition(" ")
    except OSError:  # none was given, or the storage is away
        return None
    return cast(Order, order) if steps >= int(after) else None
