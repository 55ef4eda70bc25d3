"""Killed at any step and continued is never killed: weights and journal equal to the last bit."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from damage import flipped, torn
from safetensors.torch import load_file
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.data.prepare import prepare
from amc_platform.evaluation.hits import read_hits
from amc_platform.search.plan import make_plan
from amc_platform.tracking.reader import history
from amc_platform.training.callbacks.base import Callback, StepEnd, Training
from amc_platform.training.callbacks.losses import Losses
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.loop import run_trial
from amc_platform.training.trial import TrialJob, TrialStatus

ALONE = WorkerGroup(0, 1, torch.device("cpu"))


def job_of(folder: Path, *overrides: str) -> TrialJob:
    spec = write_experiment(folder)
    experiment = make_plan(spec).experiment
    if not experiment.data.table.is_file():
        assert experiment.data.prepare is not None
        prepare(experiment.data.prepare, experiment.data.table, workers=1)
    (job,) = make_plan(spec, overrides).jobs
    return job


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TrialJob:
    job = job_of(tmp_path_factory.mktemp("undisturbed"))
    run_trial(job, ALONE)
    return job


def test_trains_evaluates_and_records(undisturbed: TrialJob) -> None:
    assert undisturbed.done
    assert undisturbed.state == "done"
    points = history(undisturbed.folder)
    assert [point.step for point in points["train/loss_total"]] == [2, 4, 6, 8]
    assert [point.step for point in points["val/scenes/pointing"]] == [4, 8]
    hits = read_hits(undisturbed.evaluation("test") / "hits.parquet")
    accuracy = 100 * sum(hit.hit for hit in hits) / len(hits)
    assert points["test/scenes/pointing"][0].value == pytest.approx(accuracy)
    status = TrialStatus.read(undisturbed.folder)
    assert status.state == "finished"
    assert status.world_sizes == ((0, 1),)
    assert not list(undisturbed.states.glob("*.pt"))


def test_a_finished_trial_is_not_trained_again(undisturbed: TrialJob) -> None:
    before = (undisturbed.model / "model.safetensors").stat().st_mtime_ns
    run_trial(undisturbed, ALONE)
    assert (undisturbed.model / "model.safetensors").stat().st_mtime_ns == before


def test_kill_and_continue_equals_never_killed(tmp_path: Path, undisturbed: TrialJob) -> None:
    job = job_of(tmp_path)
    assert job.identity == undisturbed.identity
    program = (
        "import sys, time, torch\n"
        "from pathlib import Path\n"
        "from amc_platform.search.plan import make_plan\n"
        "from amc_platform.training.distributed import WorkerGroup\n"
        "from amc_platform.training.loop import run_trial\n"
        "(job,) = make_plan(Path(sys.argv[1])).jobs\n"
        # Slow enough after each record that the kill lands between a checkpoint and the end.
        "run_trial(job, WorkerGroup(0, 1, torch.device('cpu')), report=lambda line: time.sleep(1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "spec.yaml")])
    deadline = time.monotonic() + 120
    while not list(job.states.glob("step-*4.pt")):
        assert process.poll() is None, "it ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert job.state == "partial"

    run_trial(job, ALONE)
    resumed_at = TrialStatus.read(job.folder).world_sizes[-1][0]
    assert 0 < resumed_at < 8
    ours, wanted = (load_file(j.model / "model.safetensors") for j in (job, undisturbed))
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)
    assert ours.keys() == wanted.keys()
    for name, points in history(undisturbed.folder).items():
        if name not in ("train/pairs_per_second", "train/data_wait_share") and not name.startswith("system/"):
            assert [(p.step, p.value) for p in history(job.folder)[name]] == [
                (p.step, p.value) for p in points
            ]


class Killed(Callback):
    """Ends the training after 7 steps, as a kill does."""

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        if step.steps == 7:
            raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("damage", "what"),
    [(torn, "torn: 5000 bytes of "), (flipped, "changed since it was written: its checksum is another")],
)
def test_a_damaged_state_is_passed_over_saying_so_and_leftovers_are_swept(
    tmp_path: Path, undisturbed: TrialJob, damage: Callable[[Path], None], what: str
) -> None:
    job, said = job_of(tmp_path), list[str]()
    with pytest.raises(RuntimeError, match="killed"):
        run_trial(job, ALONE, extra=[Killed()])
    newest = job.states / "step-00000006.pt"
    damage(newest)
    (job.states / ".step-00000008.pt.0123abcd.tmp").write_bytes(b"half")
    (job.folder / ".best.0123abcd.tmp").mkdir()
    run_trial(job, ALONE, said.append)
    assert TrialStatus.read(job.folder).world_sizes == ((0, 1), (4, 1))
    (line,) = [line for line in said if "is used" in line]
    assert line.startswith(f"test/small (seed 0): {newest}: {what}")
    assert line.endswith("; the one before it is used")
    assert list(job.folder.rglob(".*.tmp")) == []
    ours, wanted = (load_file(j.model / "model.safetensors") for j in (job, undisturbed))
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)


def test_the_losses_between_two_records_are_known_after_a_kill(tmp_path: Path) -> None:
    options = ("training.log_every=4", "training.checkpoint_every=3", "evaluation.gallery=0")
    (tmp_path / "alone").mkdir()
    alone, job = job_of(tmp_path / "alone", *options), job_of(tmp_path, *options)
    run_trial(alone, ALONE)
    with pytest.raises(RuntimeError, match="killed"):
        run_trial(job, ALONE, extra=[Killed()])
    run_trial(job, ALONE)
    # The record of step 8 is of steps 5 to 8, of which the second start trained two.
    assert TrialStatus.read(job.folder).world_sizes == ((0, 1), (6, 1))
    for name in ("train/loss_total", "train/loss_amc"):
        ours, wanted = ([(p.step, p.value) for p in history(j.folder)[name]] for j in (job, alone))
        assert [step for step, _ in wanted] == [4, 8]
        assert ours == wanted


def test_losses_of_two_ranks_are_averaged_where_one_goes_on(tmp_path: Path) -> None:
    training, losses = Training(job_of(tmp_path), ALONE, None, print), Losses()
    rows = torch.tensor([[[1.0, 1.0], [3.0, 1.0]], [[3.0, 1.0], [float("nan"), 0.0]]])
    losses.on_load(training, 6, {"skipped": 4, "rows": rows, "empty": torch.tensor([1, 2])})
    kept = losses.on_save(training)
    # By rank, step, and loss: the last column says whether the step counts.
    assert str(kept.pop("rows").tolist()) == "[[[2.0, 1.0], [nan, 0.0]]]"
    assert kept == {"skipped": 4, "empty": torch.tensor([3])}


def test_a_diverged_loss_stops_with_one_line(tmp_path: Path) -> None:
    job = job_of(tmp_path, "training.lr=1e20", "training.lr_min=1e20", "training.warmup_steps=0")
    with pytest.raises(InputError, match=r"train/loss_\w+ is .* at step \d \(images .*\); lower training.lr"):
        run_trial(job, ALONE)
    assert TrialStatus.read(job.folder).state == "failed"
    assert not job.trained


def test_another_seed_or_margin_is_another_trial_but_another_record_is_not(tmp_path: Path) -> None:
    same = job_of(tmp_path)
    assert (
        job_of(tmp_path, "training.log_every=1", "evaluation.gallery=1", "name=other").identity
        == same.identity
    )
    for change in ("seed=1", "objective.amc.delta_1=0.2", "data.phrases_per_image=1", "cluster.workers=2"):
        assert job_of(tmp_path, change).identity != same.identity
