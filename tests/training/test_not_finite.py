"""A loss that is not finite: the step changes nothing, and the spec says whether training goes on."""

import dataclasses
from pathlib import Path

import pytest
import torch
from test_resume import ALONE, job_of
from tiny import tiny_batch, tiny_model

from amc_models.batch import Batch
from amc_models.errors import InputError
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives
from amc_platform.data.loader import TrainingLoader
from amc_platform.spec import TrainingSpec
from amc_platform.tracking.reader import history
from amc_platform.training.checkpoint import newest_intact
from amc_platform.training.loop import run_trial
from amc_platform.training.step import Stepper

BROKEN = 4
"""The step, from 0, whose images are not numbers."""


def broken(batch: Batch) -> Batch:
    return dataclasses.replace(batch, images=torch.full_like(batch.images, float("nan")))


@pytest.fixture
def broken_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    made = TrainingLoader.batch

    def batch(self: TrainingLoader, step: int) -> Batch:
        return broken(made(self, step)) if step == BROKEN else made(self, step)

    monkeypatch.setattr(TrainingLoader, "batch", batch)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_such_a_step_changes_no_weight_no_moment_no_average_and_no_queue(clip_norm: float | None) -> None:
    options = {"clip_norm": clip_norm, "on_nan": "skip"}
    spec = TrainingSpec.model_validate({"steps": 3, "lr": 1e-3, "lr_min": 1e-4, "warmup_steps": 1, **options})
    stepper = Stepper(Objectives(tiny_model(), ObjectiveConfig(), 4), spec, ALONE, seed=3)
    model, optimizer = stepper.objectives.model, stepper.optimizer
    start = model.state_dict()["vision_proj_m.weight"].clone()
    stepper.step(tiny_batch(), 0)
    stepper.step(tiny_batch(), 1)
    assert bool(stepper.finite)
    held = {name: value.clone() for name, value in model.state_dict().items()}
    # The averages are no constants: they moved with the weights that the first step made.
    assert not torch.equal(held["vision_proj_m.weight"], start)
    moments = [value.clone() for state in optimizer.state.values() for value in state.values()]
    losses = stepper.step(broken(tiny_batch()), 2)
    assert losses["total"].isnan()
    assert not bool(stepper.finite)
    assert [name for name, value in held.items() if not torch.equal(model.state_dict()[name], value)] == []
    now = [value for state in optimizer.state.values() for value in state.values()]
    assert all(torch.equal(value, before) for value, before in zip(now, moments, strict=True))
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    stepper.step(tiny_batch(), 2)
    assert bool(stepper.finite)
    for name in ("itm_head.weight", "vision_proj_m.weight"):
        assert not torch.equal(model.state_dict()[name], held[name])


def test_where_it_ends_the_training_no_copy_of_the_averages_is_kept() -> None:
    spec = TrainingSpec(steps=3, lr=1e-3, lr_min=1e-4, warmup_steps=1)
    assert Stepper(Objectives(tiny_model(), ObjectiveConfig(), 4), spec, ALONE, seed=3)._found == []


@pytest.mark.usefixtures("broken_loader")
def test_it_stops_naming_step_and_images(tmp_path: Path) -> None:
    job = job_of(tmp_path, "training.log_every=8", "training.checkpoint_every=3")
    named = r"train/loss_\w+ is nan at step 5 \(images (\S+, ){5}\S+\); lower training.lr"
    with pytest.raises(InputError, match=named):
        run_trial(job, ALONE)
    # No state holds what came after it, though nothing looked at the losses before step 6.
    assert newest_intact(job.states, print) == job.states / "step-00000003.pt"


@pytest.mark.usefixtures("broken_loader")
def test_it_is_skipped_and_counted_where_the_spec_says_so(tmp_path: Path) -> None:
    job = job_of(tmp_path, "training.on_nan=skip")
    said: list[str] = []
    run_trial(job, ALONE, said.append)
    assert job.done
    points = history(job.folder)
    assert [(point.step, point.value) for point in points["train/skipped_steps"]] == [(6, 1)]
    assert [point.step for point in points["train/loss_total"]] == [2, 4, 6, 8]
    assert all(0 < point.value < 50 for point in points["train/loss_total"])
    assert any("1 steps up to step 6 had losses that are not finite" in line for line in said)


def test_going_on_is_another_training_than_stopping(tmp_path: Path) -> None:
    assert job_of(tmp_path, "training.on_nan=skip").identity != job_of(tmp_path).identity
