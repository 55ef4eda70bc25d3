"""Parameter groups and learning rates, by hand."""

import json
import math
from pathlib import Path

import pytest
from tiny import tiny_model

from amc_platform.spec import TrainingSpec
from amc_platform.training.optimizer import learning_rate, parameter_groups, published_rate


def test_learning_rate_rises_then_falls_along_half_a_cosine() -> None:
    spec = TrainingSpec(steps=110, lr=1.0, lr_min=0.1, warmup_steps=10)
    rates = [learning_rate(step, spec) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[109] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 0.99)))


def test_published_rates_are_the_recorded_ones(shared_dir: Path) -> None:
    recorded = json.loads((shared_dir / "golden" / "eval_cases.json").read_text())["lr"]
    per_epoch = 2500
    spec = TrainingSpec(
        steps=30 * per_epoch,
        lr=1e-5,
        lr_min=1e-6,
        warmup_steps=2000,
        schedule="published",
        epochs=30,
        steps_per_epoch=per_epoch,
    )
    assert learning_rate(0, spec) == pytest.approx(recorded["initial"], rel=1e-12)
    # What is set after an iteration is the rate of the next hundred.
    for iteration, rate in recorded["epoch0_after_iter"].items():
        for step in (int(iteration) + 1, int(iteration) + 100):
            assert learning_rate(step, spec) == pytest.approx(rate, rel=1e-12)
    assert learning_rate(per_epoch - 1, spec) == pytest.approx(1e-5, rel=1e-12)
    for epoch, rate in recorded["epoch_start_lr"].items():
        for step in (int(epoch) * per_epoch, (int(epoch) + 1) * per_epoch - 1):
            assert learning_rate(step, spec) == pytest.approx(rate, rel=1e-12)
    assert len(recorded["epoch0_after_iter"]) == 21
    assert len(recorded["epoch_start_lr"]) == 29


def test_a_short_epoch_cuts_the_published_warm_up_off() -> None:
    rates = [
        published_rate(step, 150, 4, 1.0, 0.0, 200) for step in (0, 100, 101, 149, 150, 300, 599, 600, 999)
    ]
    half = math.sqrt(0.5) / 2
    assert rates == pytest.approx([0, 0, 0.5, 0.5, 0.5 + half, 0.5, 0.5 - half, 0, 0], abs=1e-15)


def test_no_decay_for_vectors_and_biases_only() -> None:
    model = tiny_model()
    decay, no_decay = parameter_groups(model, 0.02)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(p)] for p in decay["params"]}  # pyright: ignore
    assert {"visual_encoder.pos_embed", "visual_encoder.cls_token", "temp"} <= decayed
    assert not any(name.endswith("bias") or "norm" in name.lower() for name in decayed)
    assert len(decayed) + len(no_decay["params"]) == sum(p.requires_grad for p in model.parameters())  # pyright: ignore
    assert decay["weight_decay"] == 0.02
    assert no_decay["weight_decay"] == 0.0
