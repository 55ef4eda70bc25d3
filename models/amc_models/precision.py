"""In which precision a step computes, and which parts of it always keep float32."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]

# torch makes these switches at import, unseen by a type checker.
_ONEDNN: Any = torch.backends.mkldnn
_CUDNN: Any = torch.backends.cudnn


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The networks of a step in `precision`; weights, moving averages and the optimiser keep float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Inside of `autocast`: what must not be rounded. Its inputs go through `widened`."""
    # Tensors without content (device meta) are not rounded, and torch has no autocast for them.
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """Half-width numbers as float32, others as they are."""
    return tensor.float() if tensor.element_size() < 4 else tensor


@contextmanager
def tensor_float_32(allowed: bool) -> Iterator[None]:
    """Whether a GPU may round factors of float32 products and convolutions to TF32, which has 10 bits of mantissa."""
    places: list[Any] = [torch.backends.cuda.matmul, _CUDNN.conv]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


@contextmanager
def fast_cpu_matmul() -> Iterator[None]:
    """Multiply float32 matrices with oneDNN instead of MKL where oneDNN does not round them.

    MKL uses half the vector width of an AMD processor, oneDNN all of it. torch hands float32 to oneDNN only with leave
    to compute in bfloat16, of which a processor without bfloat16 tiles (AMX) makes no use: `_keeps_float32` tries it.
    """
    before = _ONEDNN.matmul.fp32_precision
    _ONEDNN.matmul.fp32_precision = "bf16" if _keeps_float32() else before
    try:
        yield
    finally:
        _ONEDNN.matmul.fp32_precision = before


def multiplies_with_onednn() -> bool:
    """Whether float32 matrices are multiplied by oneDNN now."""
    return _ONEDNN.matmul.fp32_precision == "bf16"


@cache
def _keeps_float32() -> bool:
    """Whether a product of float32 matrices is exact with that leave; one of bfloat16 would lose 2^-12 beside 1."""
    before = _ONEDNN.matmul.fp32_precision
    _ONEDNN.matmul.fp32_precision = "bf16"
    try:
        ones = torch.full((256, 256), 1 + 2**-12)
        return torch.equal(ones @ torch.eye(256), ones)
    finally:
        _ONEDNN.matmul.fp32_precision = before
