"""What happens beside the steps: losses are recorded, the network is validated and evaluated."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_platform.data.rows import ImageRow
from amc_platform.data.table import read_info, read_rows
from amc_platform.evaluation.evaluator import evaluate
from amc_platform.evaluation.gallery import gallery_rows, take_shots, write_gallery
from amc_platform.evaluation.hits import Hit, accuracy_table, write_hits
from amc_platform.evaluation.network import heatmaps_of, image_loader
from amc_platform.evaluation.protocol import Protocol
from amc_platform.tracking.journal import Journal
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.trial import TrialJob


@dataclass
class LossMeter:
    """Records losses, learning rate and speed every `training.log_every` steps, averaged over them and over ranks."""

    job: TrialJob
    group: WorkerGroup
    journal: Journal | None
    report: Callable[[str], None]
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _count: int = 0
    _started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    """Time since the first step of this start."""

    def add(self, step: int, losses: dict[str, Tensor], learning_rate: float) -> None:
        """Take the losses of `step`. Raises InputError where an average is not finite."""
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(loss)) + loss
        self._count += 1
        spec = self.job.experiment.training
        # Aligned to the step number, so that a continued run writes the same points.
        if (step + 1) % spec.log_every and step + 1 != spec.steps:
            return
        means = self.group.mean(torch.stack(list(self._sums.values())) / self._count).tolist()
        values = {f"train/loss_{name}": value for name, value in zip(self._sums, means, strict=True)}
        elapsed = time.perf_counter() - self._started - self.seconds
        self.seconds += elapsed
        pairs = self.job.experiment.data.images_per_batch * self.job.experiment.data.phrases_per_image
        if self.journal is not None:
            pace = {"train/lr": learning_rate, "train/pairs_per_second": pairs * self._count / elapsed}
            self.journal.metrics(step + 1, values | pace)
        for name, value in values.items():
            if not math.isfinite(value):
                raise InputError(
                    f"training: {name} is {value} at step {step + 1}; lower training.lr or set training.clip_norm"
                )
        total = values["train/loss_total"]
        speed = f"{pairs * self._count / elapsed:.0f} pairs/s"
        self.report(f"{self.job.label}: step {step + 1}/{spec.steps}, loss {total:.3f}, {speed}")
        self._sums, self._count = {}, 0


class Validation:
    """Pointing accuracy on the validation split every `evaluation.every` steps."""

    def __init__(self, job: TrialJob, group: WorkerGroup, journal: Journal | None) -> None:
        self.job, self.group, self.journal = job, group, journal
        spec = job.experiment.evaluation
        self.every = spec.every
        self.rows: Sequence[ImageRow] = []
        if spec.every is not None:
            rows = read_rows(job.experiment.data.table, splits={spec.validation_split})
            self.rows = rows[: spec.validation_images]

    def after(self, step: int, model: Albef) -> None:
        """Called after step number `step` (from 0)."""
        if self.every is None or (step + 1) % self.every:
            return
        hits = _hits(self.job, model, self.rows, self.group)
        if self.journal is not None:
            split = self.job.experiment.evaluation.validation_split
            self.journal.metrics(step + 1, pointing_metrics(self.job, split, hits))
            folder = self.job.folder / "validation" / f"step-{step + 1:08d}"
            _draw_gallery(self.job, model, self.rows, folder, f"validation/step-{step + 1:08d}", self.journal)


def evaluate_split(
    job: TrialJob, model: Albef, split: str, group: WorkerGroup, journal: Journal | None
) -> None:
    """Hits of a split as Parquet, its accuracies as metrics, its gallery as pictures."""
    rows = read_rows(job.experiment.data.table, splits={split})
    hits = _hits(job, model, rows, group)
    if not group.leads or journal is None:
        return
    folder = job.evaluation(split)
    write_hits(folder / "hits.parquet", hits, Protocol.named(job.experiment.evaluation.protocol))
    journal.metrics(job.experiment.training.steps, pointing_metrics(job, split, hits))
    journal.artifact(folder / "hits.parquet", f"evaluations/{split}")
    _draw_gallery(job, model, rows, folder / "gallery", f"evaluations/{split}/gallery", journal)


def _draw_gallery(
    job: TrialJob, model: Albef, rows: Sequence[ImageRow], folder: Path, to: str, journal: Journal
) -> None:
    """Heatmaps of the spec's number of fixed phrases, as pictures in `folder` and among the run's artifacts."""
    count = job.experiment.evaluation.gallery
    if count:
        protocol = Protocol.named(job.experiment.evaluation.protocol)
        shots = take_shots(
            heatmaps_of(model), gallery_rows(rows, count), protocol, image_loader(model, protocol)
        )
        write_gallery(folder, shots)
        journal.artifact(folder, to)


def pointing_metrics(job: TrialJob, split: str, hits: Sequence[Hit]) -> dict[str, float]:
    """Metric names as in `test/scenes/pointing/attribute`, in per cent; the group of all has no last part."""
    source = read_info(job.experiment.data.table).source["source"]
    return {
        f"{split}/{source}/pointing" + ("" if group == "all" else f"/{group}"): accuracy.percent
        for group, accuracy in accuracy_table(hits).items()
    }


def _hits(job: TrialJob, model: Albef, rows: Sequence[ImageRow], group: WorkerGroup) -> list[Hit]:
    """Hits of all rows on every rank, in the order of the rows; each rank evaluates its share."""
    protocol = Protocol.named(job.experiment.evaluation.protocol)
    share = -(-len(rows) // group.size)
    own = rows[group.rank * share : (group.rank + 1) * share]
    hits = evaluate(heatmaps_of(model), own, protocol, image_loader(model, protocol))
    return [hit for part in group.gather(hits) for hit in part]
