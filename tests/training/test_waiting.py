"""No step waits for its device: what passes need to know of a batch, the host looks up before it is sent."""

from dataclasses import replace

import pytest
import torch
from tiny import tiny_batch, tiny_model
from waiting import Waits

from amc_models.batch import Batch
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.matching import _draw
from amc_models.objectives.total import Objectives
from amc_platform.spec import TrainingSpec
from amc_platform.training import step as step_module
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.step import Stepper


def batch() -> Batch:
    made = tiny_batch(images=4, per_image=2)
    # One pair without a region, so that pairs with one have to be found.
    has_region = torch.arange(8) != 3
    masks = made.region_masks * has_region[:, None, None]
    return replace(made, has_region=has_region, region_masks=masks)


def waits_of_a_step(
    monkeypatch: pytest.MonkeyPatch, objective: dict[str, object], **training: object
) -> list[str]:
    spec = TrainingSpec.model_validate(
        {"steps": 9, "lr": 1e-3, "lr_min": 1e-4, "warmup_steps": 1, **training}
    )
    objectives = Objectives(tiny_model(dropout=0.1), ObjectiveConfig.model_validate(objective), 4)
    stepper = Stepper(objectives, spec, WorkerGroup.current(), seed=3)
    stepper.step(batch(), 0)
    waits = Waits()
    on_host = ((Objectives, "prepare"), (step_module, "draw"), (Batch, "parts"), (Batch, "to"))
    for owner, name in on_host:
        wrapped = waits.on_host(getattr(owner, name))
        monkeypatch.setattr(
            owner, name, lambda *given, wrapped=wrapped, **options: wrapped(*given, **options)
        )
    # Ready before the step begins, as the loader makes it.
    made = batch()
    with waits:
        stepper.step(made, 1)
    return waits.found


@pytest.mark.parametrize(
    ("objective", "training"),
    [
        ({}, {}),
        ({}, {"clip_norm": 1.0, "accumulation": 2}),
        ({}, {"precision": "bf16", "activation_checkpointing": True}),
        ({"distillation_axis": "sequence"}, {}),
        ({"negatives": "uniform", "amc": {"variant": "mean", "mean_hinge": "batch"}}, {}),
        ({"batch": "global"}, {"accumulation": 2}),
        ({"batch": "global", "amc": {"variant": "amc", "mean_hinge": "batch"}}, {}),
        ({"mlm": 0.0, "amc": {"variant": "none"}}, {}),
    ],
)
def test_no_step_waits_for_the_device(
    monkeypatch: pytest.MonkeyPatch, objective: dict[str, object], training: dict[str, object]
) -> None:
    assert waits_of_a_step(monkeypatch, objective, **training) == []


def test_waits_are_seen() -> None:
    numbers = torch.arange(4.0)
    with Waits() as waits:
        numbers[numbers > 1].sum().item()
        torch.multinomial(numbers, 1)
    assert waits.found == [
        "aten.index.Tensor",
        "aten._local_scalar_dense.default",
        "aten.multinomial.default",
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negatives_are_drawn_as_multinomial_draws_them(dtype: torch.dtype) -> None:
    weights = torch.rand(40, 30, dtype=dtype) * (torch.rand(40, 30) < 0.5)
    weights[7] = 0.0
    possible = weights.sum(dim=1) > 0
    torch.manual_seed(5)
    drawn = _draw(weights, None)
    after = torch.rand(1)
    torch.manual_seed(5)
    wanted = torch.multinomial(torch.where(possible[:, None], weights, 1.0), 1)[:, 0]
    assert torch.equal(drawn, torch.where(possible, wanted, -1))
    assert torch.equal(after, torch.rand(1))
