"""A recorded number beside ours: deviation, tolerance, verdict."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from amc_models.errors import InputError

DEVIATIONS = 10
"""How many times the recorded float32 deviation of the published code itself is allowed."""
FLOAT32_STEPS = 10
"""Least tolerance, in float32 steps at the tensor's largest value: a recorded deviation below it is luck."""
FLOAT32 = 1e-5
"""Relative tolerance of numbers that the published code computed in float32."""


@dataclass(frozen=True)
class Verdict:
    """One recorded value beside ours. A deviation of NaN (other shape, or nothing of that name here) is a miss."""

    case: str
    name: str
    deviation: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Within tolerance."""
        return self.deviation <= self.tolerance


def compare(case: str, name: str, got: Tensor | None, wanted: Tensor, fp32_dev: float) -> Verdict:
    """Largest absolute deviation; tolerance is ten times the published code's own, at least ten float32 steps."""
    scale = wanted.double().abs().max().item() if wanted.numel() else 0.0
    steps = FLOAT32_STEPS * torch.finfo(torch.float32).eps * scale if wanted.is_floating_point() else 0.0
    tolerance = max(DEVIATIONS * fp32_dev, steps)
    if got is None:
        return Verdict(case, name, math.nan, tolerance, "nothing of that name is computed here")
    if got.squeeze().shape != wanted.squeeze().shape:
        return Verdict(case, name, math.nan, tolerance, f"shape {tuple(got.shape)} != {tuple(wanted.shape)}")
    deviation = (got.detach().double().reshape(wanted.shape) - wanted.double()).abs()
    return Verdict(case, name, deviation.max().item() if deviation.numel() else 0.0, tolerance)


def equal(case: str, name: str, got: object, wanted: object) -> Verdict:
    """What must be the same to the last bit; the deviation of other values is infinite."""
    same = got == wanted
    return Verdict(
        case, name, 0.0 if same else math.inf, 0.0, "" if same else f"{got!r}, recorded {wanted!r}"
    )


def close(case: str, name: str, got: float, wanted: float) -> Verdict:
    """A number that the published code computed in float32."""
    return Verdict(case, name, abs(got - wanted), FLOAT32 * abs(wanted))


def read_json(path: Path) -> Any:
    """Parsed JSON; InputError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as JSON ({error}); give a folder of golden cases"
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; InputError where it is none."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({error}); the case is not complete"
        ) from error
