"""A process to which the kernel gives no more memory: training goes on with half the micro-batch."""

import resource
import threading
from pathlib import Path

import pytest
import torch
from extra_callback import run_trial_with
from small_experiment import SIZES, write_experiment
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from amc_models.albef import Albef
from amc_platform.data.loader import TrainingLoader
from amc_platform.search.driver import ready_plan
from amc_platform.training import loop, worker
from amc_platform.training.callbacks.base import Callback, Training
from amc_platform.training.lane import Lane
from amc_platform.training.trial import TrialJob, TrialStatus

pytestmark = [pytest.mark.integration, pytest.mark.soak]


class Limit(Callback):
    """From the start of training on the process may have `spare` more bytes of its own.

    None: as many as it wants, and `grown` gets the most that it had. Of what the limit counts, and not of what is
    resident: on a busy machine the system takes pages away.
    """

    def __init__(self, spare: int | None, grown: Path) -> None:
        self.spare, self.grown = spare, grown

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        before = data_bytes()
        if self.spare is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (before + self.spare, before + self.spare))
            return
        self.ended = threading.Event()
        self.watch = threading.Thread(target=self._watch, args=(before,))
        self.watch.start()

    def _watch(self, before: int) -> None:
        most = before
        while not self.ended.wait(0.001):
            most = max(most, data_bytes())
        self.grown.write_text(str(most - before))

    def on_end(self, training: Training) -> None:
        if self.spare is None:
            self.ended.set()
            self.watch.join()


def data_bytes() -> int:
    """Memory of this process that RLIMIT_DATA limits."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def work(_: int, lane: Lane, limit: Limit) -> None:
    """The function that Ray Train starts in every worker, with a callback more."""
    torch.set_num_threads(1)
    loop.run_trial = run_trial_with(limit)
    worker._worker({"lane": lane})


def given(folder: Path, *overrides: str) -> tuple[TrialJob, Lane]:
    folder.mkdir()
    spec = write_experiment(
        folder,
        model={**SIZES, "vision_width": 64, "text_width": 64},
        data={
            "table": str(folder / "scenes.parquet"),
            "prepare": {"source": "scenes", "train": 128, "val": 4, "test": 4, "unseen": 0},
            "images_per_batch": 128,
            "phrases_per_image": 4,
        },
        evaluation={"splits": ["test"]},
        tracking={"kind": "none"},
    )
    (job,) = ready_plan(spec, ["training.steps=2", *overrides], fresh=False, progress=None).jobs
    lane = Lane(folder / "crew" / "lane-0")
    lane.open()
    lane.submit(0, job)
    lane.close()
    return job, lane


def grown(folder: Path, *overrides: str) -> int:
    """Bytes that a training grows by at most where nothing limits it."""
    _, lane = given(folder, *overrides)
    spawn(work, args=(lane, Limit(None, folder / "grown")))
    return int((folder / "grown").read_text())


def test_a_real_shortage_halves_the_micro_batch(tmp_path: Path) -> None:
    whole, half = grown(tmp_path / "whole"), grown(tmp_path / "half", "training.accumulation=2")
    assert whole > 1.4 * half
    job, lane = given(tmp_path / "short")
    limit = Limit((whole + half) // 2, tmp_path / "short" / "grown")
    with pytest.raises((ProcessRaisedException, ProcessExitedException), match="can't allocate memory"):
        spawn(work, args=(lane, limit))
    # Ray starts the group again.
    spawn(work, args=(lane, limit))
    status = TrialStatus.read(job.folder)
    assert (status.state, status.memory_halved) == ("finished", True)
    assert "out of memory on rank 0 of 1 ([enforce fail" in lane.progress.read_text()
