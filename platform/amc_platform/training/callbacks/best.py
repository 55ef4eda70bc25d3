"""The weights of the best validation."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from amc_models.albef import Albef
from amc_models.weights import save_checkpoint
from amc_platform.data.loader import TrainingLoader
from amc_platform.files import atomic_path, write_json
from amc_platform.training.callbacks.base import Callback, Evaluation, Training

FACTS = "best.json"


@dataclass(frozen=True)
class Best:
    """Which weights a folder `best` holds."""

    steps: int
    metric: str
    value: float
    """In per cent."""

    @classmethod
    def read(cls, folder: Path) -> "Best | None":
        """Of the checkpoint in `folder`; None where there is none."""
        path = folder / FACTS
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


class BestWeights(Callback):
    """Keeps the weights whose validation pointed best in `<trial>/best`, the earliest of equals.

    Only validations count: a choice by a test split would flatter it.
    """

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        """Remember what an earlier start kept; the same steps come out the same and replace nothing."""
        self._best = Best.read(training.job.best)

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """Rank 0 writes."""
        value = evaluation.metrics[evaluation.metric]
        if evaluation.final or not training.group.leads or (self._best and value <= self._best.value):
            return
        self._best = Best(evaluation.steps, evaluation.metric, value)
        best = self._best
        training.storage.write(lambda: _write(training.job.best, model, best))


def _write(target: Path, model: Albef, best: Best) -> None:
    with atomic_path(target) as folder:
        save_checkpoint(model, folder, momentum=False)
        write_json(folder / FACTS, asdict(best))
