"""Looks for what the driver ordered (see ../orders.py), so that every rank leaves after the same step."""

from typing import cast

from amc_models.albef import Albef
from amc_platform.training.callbacks.base import Callback, Evaluation, StepEnd, Training
from amc_platform.training.distributed import Answer
from amc_platform.training.orders import Order, order_of


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
        self._pause = training.group.most(
            int(training.group.leads and order_of(training.job, step.steps) == "pause")
        )
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
            own = order_of(training.job, steps) if training.group.leads else None
            training.order = cast(Order | None, training.group.gather(own)[0])
