"""Trading memory for time: what the backward pass computes again instead of keeping it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *inputs: object, dropout: bool = False) -> Tensor:
    """`function(*inputs)`, of which only tensors among `inputs` are kept; with `dropout` the same one both times.

    Recomputation ends with the last tensor that the backward pass wants: a final matrix product is not done twice.
    Inside of torch.compile nothing is said here: the compiler finds by itself what is cheap to make again.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(*inputs)
    keep: Any = checkpoint  # torch's own annotation of `function` is wrong
    # Keeping a GPU's random state takes longer than the little that is made again.
    return keep(function, *inputs, use_reentrant=False, preserve_rng_state=dropout)
