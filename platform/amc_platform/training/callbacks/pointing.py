"""Pointing accuracy, by kind and category of the phrases."""

from amc_models.albef import Albef
from amc_platform.evaluation.hits import write_hits
from amc_platform.training.callbacks.base import Callback, Evaluation, Training


class Pointing(Callback):
    """Records the accuracies of every evaluation; of the final ones, the hits too."""

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """Record metrics, and write hits.parquet."""
        training.record(evaluation.steps, evaluation.metrics)
        if evaluation.final and training.journal is not None:
            path = evaluation.folder / "hits.parquet"
            training.storage.write(lambda: write_hits(path, evaluation.hits, training.job.protocol))
            training.journal.artifact(path, evaluation.artifacts)
