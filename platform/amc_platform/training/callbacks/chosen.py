"""Which callbacks a spec asks for."""

from amc_platform.training.callbacks.base import Callback
from amc_platform.training.callbacks.best import BestWeights
from amc_platform.training.callbacks.early_stopping import EarlyStopping
from amc_platform.training.callbacks.filmstrip import Filmstrip
from amc_platform.training.callbacks.gallery import Gallery
from amc_platform.training.callbacks.losses import Losses
from amc_platform.training.callbacks.pointing import Pointing
from amc_platform.training.callbacks.progress import Progress
from amc_platform.training.callbacks.throughput import Throughput
from amc_platform.training.callbacks.upload import Upload
from amc_platform.training.trial import TrialJob


def callbacks_of(job: TrialJob) -> list[Callback]:
    """The callbacks of a trial, in the order in which they are called."""
    spec = job.experiment
    chosen: list[Callback] = [Losses(), Throughput(), Progress(), Pointing()]
    if spec.evaluation.gallery:
        chosen.append(Gallery())
    if spec.evaluation.filmstrip:
        chosen.append(Filmstrip())
    if spec.evaluation.keep_best:
        chosen.append(BestWeights())
    if spec.training.early_stopping is not None:
        chosen.append(EarlyStopping(spec.training.early_stopping))
    if spec.tracking.model is not None:
        chosen.append(Upload())
    return chosen
