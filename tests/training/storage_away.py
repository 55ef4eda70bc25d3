"""What test_storage.py runs as root in a mount space of its own: trainings whose disk goes away, in three ways.

Arguments: the experiment, and a folder on which a small disk is mounted here. Says what was found as JSON.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

from amc_models.errors import InputError
from amc_platform.search.plan import make_plan
from amc_platform.tracking.reader import history
from amc_platform.training.callbacks.base import Callback, StepEnd, Training
from amc_platform.training.checkpoint import intact
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.lane import Lane
from amc_platform.training.loop import run_trial
from amc_platform.training.trial import TrialJob
from amc_platform.training.worker import _worker

ALONE = WorkerGroup(0, 1, torch.device("cpu"))
AWAY_S = 2.0
SPEC, DISK = Path(sys.argv[1]), Path(sys.argv[2])
KEPT = DISK.with_name("kept")


class At(Callback):
    """Does something after step 5, when the states of steps 2 and 4 are there."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        if step.steps == 5:
            self.action()


def job_of(output: Path, limit_s: float = 30.0) -> TrialJob:
    (job,) = make_plan(SPEC, [f"output={output}", f"cluster.storage_timeout_s={limit_s}"]).jobs
    return job


def fill(left: int = 0) -> None:
    """Fill the disk but for `left` bytes."""
    with (DISK / "filler").open("wb", buffering=0) as filler:
        with suppress(OSError):
            while filler.write(bytes(65536)):
                pass
        filler.truncate(filler.tell() - left)


def free() -> None:
    (DISK / "filler").unlink()


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def unmount() -> None:
    subprocess.run(["umount", "--lazy", str(DISK)], check=True)


def away(output: str, leave: Callable[[], object], come_back: Callable[[], object]) -> dict[str, object]:
    """A training whose disk is not there for a while."""
    job, told = job_of(DISK / output), list[str]()

    def go() -> None:
        leave()
        threading.Timer(AWAY_S, come_back).start()

    run_trial(job, ALONE, told.append, [At(go)])
    return {"told": [line for line in told if " step " not in line and "evaluating" not in line]} | same(job)


def same(job: TrialJob) -> dict[str, object]:
    """Whether a training ended as the undisturbed one did."""
    ours, theirs = (load_file(one.model / "model.safetensors") for one in (job, undisturbed))
    losses = [
        [(p.step, p.value) for p in history(one.folder)["train/loss_total"]] for one in (job, undisturbed)
    ]
    return {
        "done": job.done,
        "weights": all(torch.equal(ours[name], theirs[name]) for name in theirs),
        "losses": losses[0] == losses[1],
        "left": [str(path) for path in job.folder.rglob(".*.tmp")],
    }


def too_long() -> dict[str, object]:
    """A disk that stays full, as a worker of Ray Train meets it; then the same again with room."""
    job = job_of(DISK / "long", 1.0)

    def killed() -> None:
        raise RuntimeError("killed")

    with suppress(RuntimeError):
        run_trial(job, ALONE, extra=[At(killed)])
    lanes = [Lane(DISK / "crew" / f"lane-{number}") for number in range(2)]
    for lane in lanes:
        lane.open()
        lane.submit(0, job)
        lane.close()
    # Room for lines, and not for a state.
    fill(left=65536)
    raised = ""
    try:
        _worker({"lane": lanes[0]})
    except InputError as error:
        raised = str(error)
    states = sorted(job.states.glob("*"))
    found = {
        "raised": raised,
        "fault": lanes[0].fault,
        "states": [path.name for path in states],
        "intact": [intact(path)["step"] for path in states if path.suffix == ".pt"],
        "told": [line for line in lanes[0].progress.read_text().splitlines() if "trying again" in line],
    }
    free()
    _worker({"lane": lanes[1]})
    return found | same(job)


mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", DISK)
KEPT.mkdir()
mount("--bind", DISK, KEPT)
undisturbed = job_of(DISK.with_name("undisturbed"))
run_trial(undisturbed, ALONE)
report = {
    "full": away("full", fill, free),
    "gone": away("gone", unmount, lambda: mount("--bind", KEPT, DISK)),
    "long": too_long(),
}
unmount()
# The folder behind the mount point.
print(json.dumps(report | {"behind": [path.name for path in DISK.iterdir()]}))
