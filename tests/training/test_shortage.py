"""A worker whose memory does not suffice, as its process goes through it: once, and once more."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from extra_callback import run_trial_with
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.search.driver import ready_plan
from amc_platform.tracking.journal import JOURNAL
from amc_platform.training import loop, worker
from amc_platform.training.callbacks.base import Callback, StepEnd, Training
from amc_platform.training.lane import Lane
from amc_platform.training.shortage import is_shortage
from amc_platform.training.trial import TrialJob, TrialStatus


class Limit(Callback):
    """Raises what torch or Python does when a micro-batch has more than `pairs` pairs."""

    def __init__(self, pairs: int, error: type[Exception]) -> None:
        self.pairs, self.error = pairs, error

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        if len(step.batch.input_ids) > self.pairs * training.job.experiment.training.accumulation:
            raise self.error("no memory for this")


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    lane = Lane(tmp_path / "crew" / "lane-0")
    lane.open()
    return lane


def given(lane: Lane, folder: Path, *overrides: str) -> TrialJob:
    spec = write_experiment(folder, evaluation={"splits": ["test"]}, tracking={"kind": "none"})
    (job,) = ready_plan(spec, overrides, fresh=False, progress=None).jobs
    lane.submit(0, job)
    return job


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_once_it_goes_on_with_half_the_micro_batch(
    tmp_path: Path, lane: Lane, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    job = given(lane, tmp_path)
    monkeypatch.setattr(loop, "run_trial", run_trial_with(Limit(6, error)))
    with pytest.raises(error):
        worker._worker({"lane": lane})
    lane.close()
    # Ray starts the group again.
    worker._worker({"lane": lane})
    status = TrialStatus.read(job.folder)
    assert (status.state, status.steps, status.memory_halved) == ("finished", 8, True)
    assert lane.answer(0) == ""
    told = lane.progress.read_text()
    assert "out of memory on rank 0 of 1 (no memory for this)" in told
    assert "half the micro-batch and twice the accumulation" in told
    assert '"memory_halved":"true","accumulation":"2"' in (job.folder / JOURNAL).read_text()


def test_twice_is_the_user_s_to_mend(tmp_path: Path, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    given(lane, tmp_path)
    monkeypatch.setattr(loop, "run_trial", run_trial_with(Limit(3, MemoryError)))
    for _ in range(2):
        with pytest.raises(MemoryError):
            worker._worker({"lane": lane})
    with pytest.raises(InputError, match=r"with half the micro-batch too; lower data.images_per_batch"):
        worker._worker({"lane": lane})
    assert "lower data.images_per_batch" in lane.fault


def test_what_cannot_be_cut_finer_is_said_at_once(
    tmp_path: Path, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(lane, tmp_path, "training.accumulation=2")
    monkeypatch.setattr(loop, "run_trial", run_trial_with(Limit(3, MemoryError)))
    with pytest.raises(MemoryError):
        worker._worker({"lane": lane})
    with pytest.raises(InputError, match="6 images make no 4 shares"):
        worker._worker({"lane": lane})


def test_what_a_cut_keeps(tmp_path: Path, lane: Lane) -> None:
    job = given(lane, tmp_path, "cluster.workers.min=1", "cluster.workers.max=6", "training.accumulation=1")
    assert job.experiment.sizes == [6, 3, 2, 1]
    for size in job.experiment.sizes:
        cut = job.experiment.cut_for(size)
        assert (cut.cluster.workers, cut.shares) == (size, 6)
    assert job.experiment.cut_for(2, finer=2).shares == 12
    assert replace(job, experiment=job.experiment.cut_for(2)).identity == job.identity


def test_other_errors_are_no_shortage() -> None:
    allocator = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 bytes")
    assert is_shortage(allocator)
    assert not is_shortage(RuntimeError("worker died"))
