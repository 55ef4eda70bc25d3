"""Parameter groups and learning rates, by hand."""

import math

import pytest
from tiny import tiny_model

from amc_platform.training.optimizer import learning_rate, parameter_groups


def test_learning_rate_rises_then_falls_along_half_a_cosine() -> None:
    rates = [learning_rate(step, 110, 1.0, 0.1, 10) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[109] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 0.99)))


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
