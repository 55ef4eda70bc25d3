"""Callbacks in real trainings of a second, and early stopping by hand-made validations."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_experiment import write_experiment
from torch import distributed
from torch.multiprocessing.spawn import spawn

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_models.weights import load_checkpoint
from amc_platform.data.loader import TrainingLoader
from amc_platform.data.prepare import prepare
from amc_platform.search.plan import make_plan
from amc_platform.spec import EarlyStoppingSpec
from amc_platform.tracking import Journal
from amc_platform.tracking.events import Model
from amc_platform.tracking.reader import history, latest
from amc_platform.training.callbacks.base import Callback, Evaluation, StepEnd, Training
from amc_platform.training.callbacks.best import Best
from amc_platform.training.callbacks.early_stopping import EarlyStopping
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.evaluating import Validation
from amc_platform.training.loop import run_trial
from amc_platform.training.start import make_loader, start_model
from amc_platform.training.trial import TrialJob, TrialStatus

ALONE = WorkerGroup(0, 1, torch.device("cpu"))
POINTING = "val/scenes/pointing"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = write_experiment(tmp_path_factory.mktemp("table"))
    data = make_plan(spec).experiment.data
    assert data.prepare is not None
    prepare(data.prepare, data.table, workers=1)
    return data.table


def job_of(folder: Path, table: Path, *overrides: str) -> TrialJob:
    (job,) = make_plan(write_experiment(folder), (f"data.table={table}", *overrides)).jobs
    return job


class Log(Callback):
    """Writes down which hooks were called, and raises in one of them."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[str] = []
        self._failing = failing

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._failing:
            raise RuntimeError(f"broken at {name}")

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        self._call(f"start {steps}")

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        self._call(f"step {step.steps}")

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        self._call(f"{'final' if evaluation.final else 'validation'} {evaluation.split} {evaluation.steps}")

    def on_checkpoint(self, training: Training, steps: int, blocked_s: float) -> None:
        assert blocked_s > 0
        self._call(f"checkpoint {steps}")

    def on_error(self, training: Training, error: BaseException) -> None:
        self._call(f"error {error}")

    def on_end(self, training: Training) -> None:
        self._call("end")


SHORT = ("training.steps=4", "training.warmup_steps=1", "evaluation.every=2", "training.checkpoint_every=3")


def test_hooks_are_called_in_order_and_again_where_a_training_goes_on(tmp_path: Path, table: Path) -> None:
    job = job_of(tmp_path, table, *SHORT)
    log, broken = Log(), Log(failing="step 4")
    with pytest.raises(RuntimeError, match="broken at step 4"):
        run_trial(job, ALONE, extra=[broken, log])
    began = ["start 0", "step 1", "step 2", "validation val 2", "step 3", "checkpoint 3"]
    assert broken.calls == [*began, "step 4", "error broken at step 4"]
    assert log.calls == [*began, "error broken at step 4"]
    assert (TrialStatus.read(job.folder).state, TrialStatus.read(job.folder).error) == (
        "failed",
        "broken at step 4",
    )
    ended = next(latest(job.folder / "journal.jsonl"))
    assert (ended.status, ended.error) == ("FAILED", "broken at step 4")  # pyright: ignore

    log = Log()
    run_trial(job, ALONE, extra=[log])
    assert log.calls == ["start 3", "step 4", "validation val 4", "final test 4", "end"]
    log = Log()
    run_trial(job, ALONE, extra=[log])
    assert log.calls == []


def test_an_error_in_on_error_hides_nothing(tmp_path: Path, table: Path) -> None:
    log = Log()
    with pytest.raises(RuntimeError, match="broken at step 1"):
        run_trial(
            job_of(tmp_path, table, *SHORT), ALONE, extra=[Log("step 1"), Log("error broken at step 1"), log]
        )
    assert log.calls == ["start 0", "error broken at step 1"]


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path, table: Path) -> None:
    job = job_of(tmp_path, table, "evaluation.every=1", "training.lr=0.03", "evaluation.filmstrip=1")
    run_trial(job, ALONE)
    points = history(job.folder)[POINTING]
    best = Best.read(job.best)
    top = max(points, key=lambda point: point.value)
    assert best == Best(top.step, POINTING, top.value)
    again = Validation(job, ALONE).run(load_checkpoint(job.best), top.step)
    assert again.metrics[POINTING] == top.value
    last = load_file(job.model / "model.safetensors")
    kept = load_file(job.best / "model.safetensors")
    assert all(torch.equal(last[name], kept[name]) for name in last) == (top.step == 8)

    (strip,) = (job.folder / "filmstrip").iterdir()
    with Image.open(strip) as picture:
        # The image and a frame for each of the eight validations, with gaps of 4 px.
        assert picture.width == 9 * 160 + 8 * 4


def test_what_a_spec_switches_off_is_not_there(tmp_path: Path, table: Path) -> None:
    off = ("evaluation.keep_best=false", "evaluation.gallery=0")
    job = job_of(tmp_path, table, *off)
    run_trial(job, ALONE)
    assert {path.name for path in job.folder.iterdir()} & {"best", "filmstrip", "validation"} == set()
    (tmp_path / "all").mkdir()
    with_all = job_of(tmp_path / "all", table)
    run_trial(with_all, ALONE)
    ours, theirs = (load_file(j.model / "model.safetensors") for j in (job, with_all))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert job.identity == with_all.identity


def test_weights_to_be_registered_come_with_a_card(tmp_path: Path, table: Path) -> None:
    job = job_of(tmp_path, table, "tracking.model=amc-small", "tracking.upload=false")
    run_trial(job, ALONE)
    announced = next(event for event in latest(job.folder / "journal.jsonl") if isinstance(event, Model))
    best = Best.read(job.best)
    assert best is not None
    assert (announced.path, announced.name, announced.upload) == ("best", "amc-small", False)
    assert (announced.scores, announced.steps) == ({"scenes": best.value}, best.steps)
    card = (job.best / "README.md").read_text()
    assert f"{POINTING} {best.value:.2f} %" in card
    assert "licence: drawn by this project" in card
    assert job.identity in card
    assert "delta_2: 0.5" in card
    # Final numbers belong to the last weights; they stand there only if these are the best.
    assert ("test/scenes/pointing" in card) == (best.steps == 8)


def scripted(values: Sequence[float], first: int = 1) -> list[Evaluation]:
    return [
        Evaluation(step, "val", False, (), (), POINTING, {POINTING: value}, Path(), "")
        for step, value in enumerate(values, start=first)
    ]


def stops_after(training: Training, patience: int, values: Sequence[float], first: int = 1) -> int | None:
    stopping, model = (
        EarlyStopping(EarlyStoppingSpec(patience=patience)),
        start_model(training.job.experiment),
    )
    stopping.on_train_start(
        training, model, make_loader(training.job.experiment, model, training.group), first - 1
    )
    for evaluation in scripted(values, first):
        stopping.on_evaluate(training, model, evaluation)
        if training.stopped:
            return evaluation.steps
    return None


def test_patience_counts_validations_that_do_not_beat_the_best(tmp_path: Path, table: Path) -> None:
    job = job_of(tmp_path, table)

    def after(patience: int, values: Sequence[float]) -> int | None:
        return stops_after(Training(job, ALONE, None, print), patience, values)

    assert after(2, [1, 2, 3, 3, 3]) == 5
    assert after(2, [3, 1, 4, 1, 5]) is None
    assert after(1, [3, 3]) == 2
    assert after(3, [5, 4, 3, 2]) == 4


def test_a_continued_training_stops_where_an_uninterrupted_one_does(tmp_path: Path, table: Path) -> None:
    job = job_of(tmp_path, table)
    values = [1.0, 4.0, 3.0, 2.0]
    with Journal(job.folder) as journal:
        for step, value in enumerate(values, start=1):
            journal.metrics(step, {POINTING: value})
    # From the state after two steps on: the journal knows more than counts.
    assert stops_after(Training(job, ALONE, None, print), 2, values[2:], first=3) == 4
    assert stops_after(Training(job, ALONE, None, print), 2, [9.0, 1.0, 2.0], first=3) == 5


def test_a_training_that_stopped_early_is_evaluated_where_it_stands(tmp_path: Path, table: Path) -> None:
    said: list[str] = []
    stop = "training.early_stopping={patience: 1, metric: val/scenes/pointing/category}"
    # A rate at which nothing is learned, so that the second validation cannot be better.
    slow = ("training.lr=1e-12", "training.lr_min=0.0", "evaluation.every=2")
    job = job_of(tmp_path, table, stop, *slow)
    assert job.identity != job_of(tmp_path, table, *slow).identity
    run_trial(job, ALONE, said.append)
    assert TrialStatus.read(job.folder).steps == 4
    assert [point.step for point in history(job.folder)["test/scenes/pointing"]] == [4]
    assert any("stopped at step 4: val/scenes/pointing/category has not risen" in line for line in said)
    assert job.done


def test_a_metric_that_validations_lack_is_named(tmp_path: Path, table: Path) -> None:
    job = job_of(tmp_path, table, "training.early_stopping={patience: 1, metric: val/scenes/loss}")
    with pytest.raises(
        InputError, match=r"early_stopping\.metric: validations have no val/scenes/loss; choose"
    ):
        run_trial(job, ALONE)


def one_of_two(rank: int, folder: str, table: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": "2"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    stop = ("training.early_stopping={patience: 1}", "training.lr=1e-12", "training.lr_min=0.0")
    overrides = (*stop, "cluster.workers=2", "evaluation.every=2", "tracking.model=amc-small")
    job = job_of(Path(folder) / str(rank), Path(table), *overrides, f"output={folder}/runs")
    run_trial(job, WorkerGroup.current())
    distributed.destroy_process_group()


def test_two_ranks_stop_together(tmp_path: Path, table: Path) -> None:
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    spawn(one_of_two, args=(str(tmp_path), str(table)), nprocs=2)
    (folder,) = (tmp_path / "runs" / "trials").iterdir()
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["steps"], status["world_sizes"]) == ("finished", 4, [[0, 2]])
    assert [point.step for point in history(folder)[POINTING]] == [2, 4]
    assert Best.read(folder / "best") == Best(2, POINTING, history(folder)[POINTING][0].value)
