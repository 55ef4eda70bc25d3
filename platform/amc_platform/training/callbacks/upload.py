"""The best weights handed to the tracker."""

from amc_platform.data.table import read_info
from amc_platform.files import write_text
from amc_platform.spec import identity
from amc_platform.training.callbacks.base import Callback, Training
from amc_platform.training.callbacks.best import Best
from amc_platform.training.card import model_card
from amc_platform.training.trial import TrialJob


class Upload(Callback):
    """Writes the card of the best weights, and has them sent and, as `tracking.model` says, registered.

    Rank 0 announces them in the journal: the driver sends them, so that no training waits for gigabytes.
    """

    def on_end(self, training: Training) -> None:
        """Announce what `BestWeights` kept; a trial that was never validated has nothing to announce."""
        job, best = training.job, Best.read(training.job.best)
        name = job.experiment.tracking.model
        if training.journal is None or best is None or name is None:
            return
        training.storage.write(lambda: write_text(job.best / "README.md", model_card(job, best)))
        benchmark = best.metric.split("/")[1]
        training.journal.model(
            job.best,
            name=name,
            scores={benchmark: best.value},
            measured=_measured(training.job),
            steps=best.steps,
            upload=job.experiment.tracking.upload,
        )


def _measured(job: TrialJob) -> str:
    """What scores must share to be comparable: data, protocol and the part of the data that is validated on."""
    evaluation = job.experiment.evaluation
    return identity(
        {
            "data": read_info(job.experiment.data.table).content_hash,
            "protocol": job.protocol.hash,
            "split": evaluation.validation_split,
            "images": evaluation.validation_images,
        }
    )
