"""AdamW with the published groups, and the learning rate as a function of the step."""

import math

import torch
from torch import nn


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


def learning_rate(step: int, steps: int, lr: float, lr_min: float, warmup_steps: int) -> float:
    """Linear from 0 over `warmup_steps`, then half a cosine down to `lr_min` at the last step."""
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return lr_min + 0.5 * (lr - lr_min) * (1 + math.cos(math.pi * progress))
