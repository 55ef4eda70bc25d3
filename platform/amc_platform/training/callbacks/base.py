"""The contract of callbacks: what may happen beside the steps of a training."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from amc_models.albef import Albef
from amc_models.batch import Batch
from amc_platform.data.loader import TrainingLoader
from amc_platform.data.rows import ImageRow
from amc_platform.evaluation.hits import Hit
from amc_platform.storage import Storage
from amc_platform.tracking.journal import Journal
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.orders import Order
from amc_platform.training.trial import TrialJob


@dataclass
class Training:
    """What every callback sees of a trial."""

    job: TrialJob
    group: WorkerGroup
    journal: Journal | None
    """Rank 0's; None on the others."""
    report: Callable[[str], None]
    """Says a line to people; of rank 0's lines only."""
    latest: dict[str, float] = field(default_factory=dict[str, float])
    """The last value of every metric of this start, as far as this rank knows it."""
    aside_s: float = 0.0
    """Seconds of this start that were spent beside the steps: in evaluations and checkpoints."""
    stopped: str = ""
    """Why training is to end with this step; empty while it is not. Every rank must say the same."""
    order: Order | None = None
    """What the driver wants instead of the remaining steps. Every rank must say the same."""
    storage: Storage = field(init=False)
    """Writes to the trial's folder, all of rank 0, go through it."""

    def __post_init__(self) -> None:
        limit_s = self.job.experiment.cluster.storage_timeout_s
        self.storage = Storage(
            self.job.folder,
            limit_s,
            lambda line: self.report(f"{self.job.label}: {line}"),
            witness=self.job.lock.name,
        )

    def record(self, steps: int, values: Mapping[str, float]) -> None:
        """Keep metrics after `steps` steps; rank 0 writes them down."""
        self.latest.update(values)
        if self.journal is not None:
            self.journal.metrics(steps, values)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count what is done inside as spent beside the steps."""
        began = time.perf_counter()
        yield
        self.aside_s += time.perf_counter() - began


@dataclass(frozen=True)
class StepEnd:
    """A step that is done."""

    steps: int
    """Steps done, this one included."""
    batch: Batch
    losses: Mapping[str, Tensor]
    """Of this rank, detached."""
    learning_rate: float
    finite: Tensor
    """Whether its gradients were finite, equal on all ranks; where not, it changed no weight and no queue."""


@dataclass(frozen=True)
class Evaluation:
    """Weights measured on a split; equal on every rank."""

    steps: int
    """Steps that the weights were trained."""
    split: str
    final: bool
    """Whether this is one of the evaluations at the end, and no validation on the way."""
    rows: Sequence[ImageRow]
    hits: Sequence[Hit]
    metric: str
    """Name of the accuracy of all phrases, as in `val/flickr30k/pointing`."""
    metrics: Mapping[str, float]
    """That and those of the groups, as in `val/flickr30k/pointing/vehicles`, in per cent."""
    folder: Path
    """Where what belongs to it is written, inside the trial's folder."""
    artifacts: str
    """Its folder among the run's artifacts."""


class Callback:
    """Hooks of a trial; each does nothing unless it is overridden.

    Every rank calls the same hooks of the same callbacks in the same order, so that they may gather, all but
    `on_error`: there the other ranks may be gone. What a callback needs to know of an earlier start it reads from the
    trial's folder in `on_train_start`.
    """

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        """Before the first step of this start, when `steps` steps are done already."""

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """After every step; it may set `training.stopped`."""

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """After every evaluation, on the way and at the end; it may set `training.stopped`."""

    def on_checkpoint(self, training: Training, steps: int, blocked_s: float) -> None:
        """After the state after `steps` steps was copied; the file is written meanwhile.

        `blocked_s`: seconds that training waited, on rank 0 that writes.
        """

    def on_save(self, training: Training) -> dict[str, Any]:
        """What a state must hold for this callback to go on as if nothing had been: tensors and numbers; of rank 0."""
        return {}

    def on_load(self, training: Training, steps: int, kept: Mapping[str, Any]) -> None:
        """Before `on_train_start`, where training goes on from the state after `steps` steps: what was kept with it."""

    def on_error(self, training: Training, error: BaseException) -> None:
        """When the trial fails, or is interrupted; `error` is raised again afterwards."""

    def on_end(self, training: Training) -> None:
        """When the trial is trained and evaluated, its weights and hits written."""
