"""The fields of `training` that say how a step computes: each has its effect, and equal numbers where it says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_batch, tiny_model

from amc_models.batch import Batch
from amc_models.benchmarks.meters import kept_for_backward
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives
from amc_models.precision import multiplies_with_onednn
from amc_platform.spec import TrainingSpec
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.step import Stepper


def float_batch() -> Batch:
    batch = tiny_batch()
    return Batch(
        **{**vars(batch), "images": batch.images.float(), "region_masks": batch.region_masks.float()}
    )


def train(
    dropout: float = 0.1, **options: object
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor], int]:
    """Losses and weights of four steps, and the bytes the last of them kept for its backward pass."""
    fields = {"steps": 4, "lr": 1e-3, "lr_min": 1e-4, "warmup_steps": 1, **options}
    spec = TrainingSpec.model_validate(fields)
    model = tiny_model(dropout=dropout).float()
    stepper = Stepper(Objectives(model, ObjectiveConfig(), 4), spec, WorkerGroup.current(), seed=3)
    losses: list[dict[str, float]] = []
    kept: dict[int, int] = {}
    for step in range(4):
        with kept_for_backward(model) as last:
            values = stepper.step(float_batch(), step)
        kept = last
        losses.append({name: value.item() for name, value in values.items()})
    return losses, model.state_dict(), sum(kept.values())


def test_checkpointing_trains_the_same_weights_in_less_memory() -> None:
    losses, weights, kept = train()
    again, others, less = train(activation_checkpointing=True)
    assert losses == again
    assert [name for name, tensor in weights.items() if not torch.equal(tensor, others[name])] == []
    assert less < kept


def test_bf16_trains_nearly_the_same_weights_in_float32() -> None:
    losses, weights, _ = train()
    rounded, others, _ = train(precision="bf16")
    assert rounded[0]["itm"] == pytest.approx(losses[0]["itm"], abs=0.01)
    assert rounded[0] != losses[0]
    assert {tensor.dtype for tensor in others.values()} == {torch.float32, torch.int64}
    assert not torch.equal(weights["itm_head.weight"], others["itm_head.weight"])
    # Moving averages and queues are what a network in float32 makes of nearly the same numbers.
    for name in ("visual_encoder_m.pos_embed", "image_queue"):
        torch.testing.assert_close(others[name], weights[name], rtol=0.1, atol=0.02)


def test_a_compiled_image_encoder_trains_the_same_but_for_rounding() -> None:
    # In a process that does not check shapes, which cannot be compiled.
    program = "from test_step_options import *; print(json.dumps(train(dropout=0.0, compile_image_encoder=True)[0]))"
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True
    )
    compiled, (plain, _, _) = json.loads(output.stdout), train(dropout=0.0)
    assert compiled != plain
    for one, other in zip(compiled, plain, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_step_leaves_the_process_as_it_was() -> None:
    train(precision="bf16")
    assert not multiplies_with_onednn()
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("tf32", "inside"), [(False, "ieee"), (True, "tf32")])
def test_tf32_is_allowed_or_forbidden_within_a_step_only(tf32: bool, inside: str) -> None:
    def precisions() -> tuple[object, object]:
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]

    fields = {"steps": 1, "lr": 1e-3, "lr_min": 1e-4, "warmup_steps": 1, "tf32": tf32}
    model = tiny_model().float()
    stepper = Stepper(
        Objectives(model, ObjectiveConfig(), 4),
        TrainingSpec.model_validate(fields),
        WorkerGroup.current(),
        seed=3,
    )
    seen: list[tuple[object, object]] = []
    model.itm_head.register_forward_hook(lambda *_: seen.append(precisions()))
    model.itm_head.register_full_backward_hook(lambda *_: seen.append(precisions()))
    before = precisions()
    stepper.step(float_batch(), 0)
    assert set(seen) == {(inside, inside)}
    assert len(seen) > 3
    assert precisions() == before
