"""A file in the layout of the published AMC code."""

from pathlib import Path

import torch
from tiny import tiny_model
from torch import Tensor

from amc_models.published import published_state

State = dict[str, Tensor]


def save_published(path: Path, state: State | None = None) -> State:
    """Write a file in AMC's layout, by default of a tiny network with momentum copies of their own."""
    if state is None:
        model = tiny_model().float()
        for average, _ in model.momentum_pairs:
            for parameter in average.parameters():
                parameter.data += 1
        model.queue_ptr_img[0] = model.queue_ptr_txt[0] = 3
        state = published_state(model, "amc")
    torch.save({"model": state, "epoch": 3, "config": {"lr": [1e-4]}}, path)
    return state
