"""Ending a training that no longer gets better."""

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_platform.data.loader import TrainingLoader
from amc_platform.spec import EarlyStoppingSpec
from amc_platform.tracking.reader import history
from amc_platform.training.callbacks.base import Callback, Evaluation, Training
from amc_platform.training.evaluating import pointing_metric


class EarlyStopping(Callback):
    """Stops after `patience` validations in a row that did not beat the best so far.

    What earlier starts measured is read from the journal, so that a continued training stops where one that was
    never interrupted does.
    """

    def __init__(self, spec: EarlyStoppingSpec) -> None:
        self._spec = spec

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        """Take over the validations up to step `steps`, as rank 0 reads them."""
        self._best, self._waited = float("-inf"), 0
        points = history(training.job.folder).get(self._name(training), []) if training.group.leads else []
        for value in training.group.gather([point.value for point in points if point.step <= steps])[0]:
            self._take(value)

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """Take a validation. Raises InputError where it has no such metric."""
        if evaluation.final:
            return
        name = self._name(training)
        if name not in evaluation.metrics:
            there = ", ".join(evaluation.metrics)
            raise InputError(
                f"training.early_stopping.metric: validations have no {name}; choose from {there}"
            )
        self._take(evaluation.metrics[name])
        if self._waited >= self._spec.patience:
            training.stopped = f"{name} has not risen above {self._best:.1f} in {self._waited} validations"

    def _name(self, training: Training) -> str:
        split = training.job.experiment.evaluation.validation_split
        return self._spec.metric or pointing_metric(training.job, split)

    def _take(self, value: float) -> None:
        self._waited = 0 if value > self._best else self._waited + 1
        self._best = max(self._best, value)
