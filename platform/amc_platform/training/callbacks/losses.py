"""Losses and learning rate."""

import math

import torch
from torch import Tensor

from amc_models.errors import InputError
from amc_platform.training.callbacks.base import Callback, StepEnd, Training


class DivergedError(InputError):
    """A loss is not finite; every rank raises it at the same step, so that the group can go on to the next trial."""


class Losses(Callback):
    """Records losses every `training.log_every` steps, averaged over them and over ranks, and the learning rate.

    `train/empty_regions` counts phrases without a region over these steps and ranks, where there are any.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._empty = 0
        self._told = False

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """Take the losses of a step. Raises DivergedError where an average is not finite."""
        for name, loss in step.losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(loss)) + loss
        self._count += 1
        self._empty += int((~step.batch.has_region).sum())
        if training.job.logs(step.steps):
            self._record(training, step)
            self._sums, self._count, self._empty = {}, 0, 0

    def _record(self, training: Training, step: StepEnd) -> None:
        empty = torch.tensor(float(self._empty), device=training.group.device)
        *sums, empties = training.group.mean(torch.stack([*self._sums.values(), empty])).tolist()
        values = {f"train/loss_{name}": s / self._count for name, s in zip(self._sums, sums, strict=True)}
        training.record(step.steps, values | {"train/lr": step.learning_rate})
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"training: {name} is {value} at step {step.steps}; lower training.lr or set training.clip_norm"
                )
        if number := round(empties * training.group.size):
            self._tell_empty(training, step.steps, number)

    def _tell_empty(self, training: Training, steps: int, number: int) -> None:
        training.record(steps, {"train/empty_regions": number})
        if not self._told:
            training.report(
                f"{training.job.label}: {number} phrases up to step {steps} have an empty region and train "
                "without AMC; train/empty_regions counts them"
            )
            self._told = True
