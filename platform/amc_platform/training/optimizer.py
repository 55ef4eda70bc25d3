"""AdamW with the published groups, and the learning rate as a function of the step."""

import math

import torch
from torch import nn

from amc_platform.spec import TrainingSpec


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """No decay for vectors and biases, decay for everything else (positions, embeddings, temperature), as published."""
    decay: list[nn.Parameter] = []
    no_decay: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (no_decay if parameter.ndim == 1 or name.endswith(".bias") else decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, betas 0.9 and 0.999, eps 1e-8."""
    return torch.optim.AdamW(parameter_groups(model, weight_decay), lr=lr, fused=True)


def learning_rate(step: int, spec: TrainingSpec) -> float:
    """Learning rate of step number `step` (from 0) under `training.schedule`."""
    if spec.schedule == "published":
        assert spec.epochs is not None
        assert spec.steps_per_epoch is not None
        return published_rate(
            step, spec.steps_per_epoch, spec.epochs, spec.lr, spec.lr_min, spec.warmup_steps
        )
    return cosine_rate(step, spec.steps, spec.lr, spec.lr_min, spec.warmup_steps)


def cosine_rate(step: int, steps: int, lr: float, lr_min: float, warmup_steps: int) -> float:
    """Linear from 0 over `warmup_steps`, then half a cosine down to `lr_min` at the last step."""
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return _half_cosine(progress, lr, lr_min)


def published_rate(
    step: int, steps_per_epoch: int, epochs: int, lr: float, lr_min: float, warmup_steps: int
) -> float:
    """As published: in epoch 0 from `lr_min` up in stairs of 100 steps; then half a cosine, constant within an epoch.

    A stair is climbed after the steps 100, 200, ...; an epoch shorter than the warm-up cuts it off. The paper's values:
    lr 1e-5, lr_min 1e-6, warmup_steps 2000, epochs 30.
    """
    epoch = step // steps_per_epoch
    if epoch == 0:
        climbed = max(0, step - 1) // 100 * 100
        return lr_min + (lr - lr_min) * min(1.0, climbed / max(1, warmup_steps))
    return _half_cosine(min(1.0, epoch / epochs), lr, lr_min)


def _half_cosine(progress: float, lr: float, lr_min: float) -> float:
    return lr_min + 0.5 * (lr - lr_min) * (1 + math.cos(math.pi * progress))
