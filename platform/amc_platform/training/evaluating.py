"""Measuring a network while and after it is trained; every rank evaluates its share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amc_models.albef import Albef
from amc_platform.data.rows import ImageRow
from amc_platform.data.table import read_info, read_rows
from amc_platform.evaluation.evaluator import IMAGES_PER_BATCH, evaluate
from amc_platform.evaluation.groups import groups_of_table, membership
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.network import at_resolution, heatmaps_of, image_loader
from amc_platform.tracking.names import spelled
from amc_platform.training.callbacks.base import Evaluation
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.trial import TrialJob


class Validation:
    """The evaluation on the validation split every `evaluation.every` steps."""

    def __init__(self, job: TrialJob, group: WorkerGroup) -> None:
        self._job, self._group = job, group
        self._spec = job.experiment.evaluation
        self._rows: Sequence[ImageRow] = []
        if self._spec.every is not None:
            rows = read_rows(job.experiment.evaluated_table, splits={self._spec.validation_split})
            self._rows = rows[: self._spec.validation_images]

    def due(self, steps: int) -> bool:
        """Whether the weights are validated after `steps` steps."""
        return self._spec.every is not None and steps % self._spec.every == 0

    def run(self, model: Albef, steps: int) -> Evaluation:
        """Validate the weights after `steps` steps."""
        split, place = self._spec.validation_split, f"validation/step-{steps:08d}"
        hits = _hits(self._job, model, self._rows, self._group)
        return _evaluation(self._job, split, steps, self._rows, hits, self._job.folder / place, place)


def evaluate_split(job: TrialJob, model: Albef, split: str, steps: int, group: WorkerGroup) -> Evaluation:
    """The evaluation of the finished weights on `split`."""
    rows = read_rows(job.experiment.evaluated_table, splits={split})
    hits = _hits(job, model, rows, group)
    folder, place = job.evaluation(split), f"evaluations/{split}"
    return _evaluation(job, split, steps, rows, hits, folder, place, final=True)


def pointing_metric(job: TrialJob, split: str) -> str:
    """Name of the accuracy of all phrases of a split, as in `test/refcoco_plus/pointing`."""
    return spelled(f"{split}/{read_info(job.experiment.evaluated_table).benchmark}/pointing")


def _hits(job: TrialJob, model: Albef, rows: Sequence[ImageRow], group: WorkerGroup) -> list[Hit]:
    """Hits of all rows on every rank, in the order of the rows; each rank evaluates whole batches of them."""
    resized = at_resolution(model, job.protocol.resolution)
    share = -(-len(rows) // (group.size * IMAGES_PER_BATCH)) * IMAGES_PER_BATCH
    own = rows[group.rank * share : (group.rank + 1) * share]
    hits = evaluate(heatmaps_of(resized), own, job.protocol, image_loader(resized, job.protocol))
    return [hit for part in group.gather(hits) for hit in part]


def _evaluation(
    job: TrialJob,
    split: str,
    steps: int,
    rows: Sequence[ImageRow],
    hits: Sequence[Hit],
    folder: Path,
    artifacts: str,
    *,
    final: bool = False,
) -> Evaluation:
    """With the metrics: per cent by group, as in `test/refcoco_plus/pointing/attribute`."""
    metric = pointing_metric(job, split)
    names, member = membership(hits, groups_of_table)
    right = member[np.array([hit.hit for hit in hits], dtype=bool)].sum(axis=0)
    percents = (100 * (right / member.sum(axis=0))).tolist()
    metrics = {
        metric if name == "all" else spelled(f"{metric}/{name}"): percent
        for name, percent in zip(names, percents, strict=True)
    }
    return Evaluation(steps, split, final, rows, hits, metric, metrics, folder, artifacts)
