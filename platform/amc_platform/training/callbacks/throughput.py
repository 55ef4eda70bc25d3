"""How fast training goes, and what it takes."""

import resource
import time

import torch

from amc_models.albef import Albef
from amc_platform.data.loader import TrainingLoader
from amc_platform.training.callbacks.base import Callback, StepEnd, Training


class Throughput(Callback):
    """Records speed, waiting and memory every `training.log_every` steps, evaluations and checkpoints left out.

    `train/pairs_per_second` counts all ranks; the rest is rank 0's: `train/data_wait_share` of the time it waited for
    batches, `system/journal_seconds` it has spent writing to the journal in this start, and its peaks
    `system/memory_gib` and, with a GPU, `system/gpu_memory_gib`. `system/checkpoint_blocked_s` is how long training
    waited for each checkpoint.
    """

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        """Start the clock."""
        self._loader = loader
        self._steps = steps
        self._seconds, self._waited_s = _spent(training), loader.waited_s

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """Take the time."""
        if not training.job.logs(step.steps):
            return
        data = training.job.experiment.data
        pairs = (step.steps - self._steps) * data.images_per_batch * data.phrases_per_image
        now = _spent(training)
        elapsed, self._seconds = now - self._seconds, now
        waited, self._waited_s = self._loader.waited_s - self._waited_s, self._loader.waited_s
        self._steps = step.steps
        values = {
            "train/pairs_per_second": pairs / elapsed,
            "train/data_wait_share": waited / elapsed,
            # Linux counts in KiB.
            "system/memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        if training.group.device.type == "cuda":
            values["system/gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        if training.journal is not None:
            values["system/journal_seconds"] = training.journal.seconds
        training.record(step.steps, values)

    def on_checkpoint(self, training: Training, steps: int, blocked_s: float) -> None:
        """Record the waiting."""
        training.record(steps, {"system/checkpoint_blocked_s": blocked_s})


def _spent(training: Training) -> float:
    return time.perf_counter() - training.aside_s
