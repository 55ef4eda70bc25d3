"""Too little memory in a worker: once, the trial goes on with micro-batches of half the size, twice as many."""

import torch

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.lane import Lane
from amc_platform.training.trial import TrialJob, TrialStatus


def is_shortage(error: BaseException) -> bool:
    """Whether memory did not suffice, on the GPU or off it."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in text
    )


def note_shortage(lane: Lane, group: WorkerGroup, error: BaseException) -> None:
    """Tell the group that is started next."""
    first = str(error).split("\n", 1)[0] or type(error).__name__
    write_text(lane.out_of_memory, f"out of memory on rank {group.rank} of {group.size} ({first})")


def halved(job: TrialJob, lane: Lane, group: WorkerGroup) -> bool:
    """Whether `job` is to go on with micro-batches of half the size; rank 0 decides, and records it.

    Raises InputError, on every rank, where that was done already or the batch cannot be cut finer.
    """
    return group.gather(_decide(job, lane) if group.leads else False)[0]


def _decide(job: TrialJob, lane: Lane) -> bool:
    status = TrialStatus.read(job.folder)
    if not lane.out_of_memory.exists():
        return status.memory_halved
    text = lane.out_of_memory.read_text(encoding="utf-8")
    shares, images = job.experiment.shares * 2, job.experiment.data.images_per_batch
    if status.memory_halved or images % shares:
        tried = (
            "with half the micro-batch too"
            if status.memory_halved
            else f"{images} images make no {shares} shares"
        )
        raise InputError(
            f"{job.label}: {text}, {tried}; lower data.images_per_batch or raise training.accumulation"
        )
    status.memory_halved = True
    status.write(job.folder)
    lane.report(f"{job.label}: {text}; it goes on with half the micro-batch and twice the accumulation")
    lane.out_of_memory.unlink()
    return True
