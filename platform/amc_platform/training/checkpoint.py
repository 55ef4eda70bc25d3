"""Checkpoints a training continues from: written atomically, the last two kept."""

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from amc_models.albef import Albef
from amc_platform.files import atomic_path

KEPT = 2
logger = logging.getLogger(__name__)


def save_state(folder: Path, step: int, model: Albef, optimizer: torch.optim.Optimizer) -> Path:
    """Write the state after `step` steps; returns the file.

    Random numbers and the order of the data are functions of seed and step, so weights, moving averages, queues and
    the optimiser are all there is.
    """
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    path = folder / f"step-{step:08d}.pt"
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
    for old in _saved(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(folder: Path, model: Albef, optimizer: torch.optim.Optimizer) -> int:
    """Load the newest readable state; returns its step, 0 where there is none.

    An unreadable one is passed over, saying so. Only tensors are unpickled.
    """
    for path in reversed(_saved(folder)):
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            logger.warning(
                "%s cannot be read (%s); the one before it is used", path, str(error).splitlines()[0]
            )
            continue
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    return 0


def remove_states(folder: Path) -> None:
    """Remove all states of a finished training."""
    for path in _saved(folder):
        path.unlink(missing_ok=True)


def _saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))
