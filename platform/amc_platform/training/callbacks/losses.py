"""Losses and learning rate, and what is done where they are not finite."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_models.momentum import gather_ranks
from amc_platform.data.loader import TrainingLoader
from amc_platform.training.callbacks.base import Callback, StepEnd, Training


class DivergedError(InputError):
    """A loss is not finite; every rank raises it at the same step, so that the group can go on to the next trial."""


IDS_SHOWN = 16
"""Images of a batch that a message names."""


class _Step(NamedTuple):
    """What is kept of a step until it is looked at; everything stays on the device."""

    steps: int
    finite: Tensor
    losses: Tensor
    """As many as there are names, of this rank."""


class Losses(Callback):
    """Records losses every `training.log_every` steps, averaged over them and over ranks, and the learning rate.

    `train/empty_regions` counts phrases without a region over these steps and ranks, where there are any. With
    `training.on_nan: skip`, `train/skipped_steps` counts steps that were not finite and changed nothing; the averages
    leave them out. Between two records nothing waits for the device. A training that goes on between two records knows
    the steps since the first of them.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._empty = 0
        self._skipped = 0
        self._told = False

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        """Remember where images of a step can be looked up."""
        self._loader = loader

    def on_save(self, training: Training) -> dict[str, Any]:
        """What every rank saw since the last record: losses and whether they count, by rank and step."""
        kept: dict[str, Any] = {"skipped": self._skipped}
        if self._steps:
            losses = torch.stack([step.losses for step in self._steps])
            finite = torch.stack([step.finite for step in self._steps]).to(losses.dtype)
            kept["rows"] = gather_ranks(torch.cat([losses, finite[:, None]], dim=1)[None])
            kept["empty"] = gather_ranks(torch.tensor([self._empty], device=losses.device))
        return kept

    def on_load(self, training: Training, steps: int, kept: Mapping[str, Any]) -> None:
        """Take back this rank's part, or, of another number of ranks, the mean."""
        self._skipped = kept["skipped"]
        if "rows" not in kept:
            return
        group = training.group
        rows, empty = kept["rows"].to(group.device), kept["empty"].tolist()
        if len(rows) == group.size:
            own, self._empty = rows[group.rank], empty[group.rank]
        else:
            own, self._empty = rows.mean(dim=0), sum(empty) if group.leads else 0
        first = steps - len(own) + 1
        self._steps = [_Step(first + i, row[-1] == 1, row[:-1]) for i, row in enumerate(own)]

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """Take the losses of a step. Raises DivergedError where one was not finite, unless such steps are skipped.

        This is looked at when losses are recorded, and before a checkpoint or a validation, which never see what comes
        after.
        """
        spec, validates = training.job.experiment.training, training.job.experiment.evaluation.every
        losses = torch.stack(list(step.losses.values()))
        self._steps.append(_Step(step.steps, step.finite & losses.isfinite().all(), losses))
        self._empty += int((~step.batch.has_region).sum())
        logs = training.job.logs(step.steps)
        used = any(step.steps % every == 0 for every in (spec.checkpoint_every, validates) if every)
        if spec.on_nan == "stop" and (logs or used):
            self._stop_if_diverged(training, list(step.losses))
        if logs:
            self._record(training, step)
            self._steps, self._empty = [], 0

    def _stop_if_diverged(self, training: Training, names: list[str]) -> None:
        group = training.group
        # One sum over the ranks; a fault on any of them is a fraction below 1.
        good = group.mean(torch.stack([kept.finite.float() for kept in self._steps]))
        for kept, share in zip(self._steps, good.tolist(), strict=True):
            if share < 1:
                means = group.mean(kept.losses).tolist()
                ids = [] if bool(kept.losses.isfinite().all()) else self._loader.image_ids(kept.steps - 1)
                found = [image for of_rank in group.gather(ids) for image in of_rank]
                raise DivergedError(_diverged(kept.steps, dict(zip(names, means, strict=True)), found))

    def _record(self, training: Training, step: StepEnd) -> None:
        group, device = training.group, training.group.device
        finite = torch.stack([kept.finite for kept in self._steps])
        # What one rank skips, all skip: `finite` of the gradients is the same everywhere.
        sums = torch.where(finite[:, None], torch.stack([kept.losses for kept in self._steps]), 0.0).sum(
            dim=0
        )
        counts = torch.stack([finite.sum(), torch.tensor(self._empty, device=device)]).to(sums.dtype)
        *means, counted, empties = group.mean(torch.cat([sums, counts])).tolist()
        values = {
            f"train/loss_{name}": mean / counted
            for name, mean in zip(step.losses, means, strict=True)
            if counted
        }
        training.record(step.steps, values | {"train/lr": step.learning_rate})
        if skipped := len(self._steps) - round(counted):
            self._skipped += skipped
            training.record(step.steps, {"train/skipped_steps": self._skipped})
            training.report(
                f"{training.job.label}: {skipped} steps up to step {step.steps} had losses that are not finite and "
                "were skipped (training.on_nan); train/skipped_steps counts them"
            )
        if number := round(empties * group.size):
            self._tell_empty(training, step.steps, number)

    def _tell_empty(self, training: Training, steps: int, number: int) -> None:
        training.record(steps, {"train/empty_regions": number})
        if not self._told:
            training.report(
                f"{training.job.label}: {number} phrases up to step {steps} have an empty region and train "
                "without AMC; train/empty_regions counts them"
            )
            self._told = True


def _diverged(steps: int, means: dict[str, float], images: list[str]) -> str:
    name = next((name for name, mean in means.items() if not math.isfinite(mean)), "")
    what = f"train/loss_{name} is {means[name]}" if name else "a gradient is not finite"
    more = len(images) - IDS_SHOWN
    shown = ", ".join(images[:IDS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    seen = f" (images {shown})" if images else ""
    return f"training: {what} at step {steps}{seen}; lower training.lr or set training.clip_norm"
