"""Recorded learning rates of the published schedule beside ours (`lr` of `eval_cases.json`)."""

from collections.abc import Iterator
from typing import Any

from amc_models.benchmarks.verdict import Verdict
from amc_platform.training.optimizer import published_rate

ITERATIONS = 10_000
"""Steps of an epoch: more than the warm-up's 2000, so that nothing cuts it off."""


def learning_rate_verdicts(recorded: dict[str, Any]) -> Iterator[Verdict]:
    """The rate after iterations of epoch 0, and at the start of later epochs; the paper's settings."""
    steps = {"initial": (0, recorded["initial"])}
    steps |= {f"iteration {i}": (int(i) + 1, rate) for i, rate in recorded["epoch0_after_iter"].items()}
    steps |= {f"epoch {e}": (int(e) * ITERATIONS, rate) for e, rate in recorded["epoch_start_lr"].items()}
    for name, (step, rate) in steps.items():
        got = published_rate(step, ITERATIONS, epochs=30, lr=1e-5, lr_min=1e-6, warmup_steps=2000)
        yield Verdict("lr", name, abs(got - rate), 1e-9 * rate)
