"""Checkpoints a training continues from: written in the background, atomically, with a checksum; the last two kept.

A checkpoint is two files. `step-00000100.pt` holds weights, moving averages, queues with their pointers, the
optimiser, and what callbacks keep (losses that are not recorded yet); `step-00000100.json`, written before it, says its
bytes and SHA-256, the identity of its training, the steps and the workers it was written with. The rest of what a
training is follows from the step: learning rate, position in the data and every random number (no rank has a state of
its own), so that rank 0 writes for all. Arithmetic in bf16 needs no loss scaler. Metrics are in the trial's journal,
the best weights by validation in its folder `best`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import torch

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_platform.files import atomic_path, sweep_temporaries, write_json
from amc_platform.storage import Storage
from amc_platform.training.snapshot import HashedFile, Snapshot

KEPT = 2


class Checkpoints:
    """Writes the states of one training to `folder`, one at a time, while the training goes on."""

    def __init__(self, folder: Path, identity: str, workers: int, storage: Storage) -> None:
        self._folder, self._identity, self._workers, self._storage = folder, identity, workers, storage
        self._snapshot = Snapshot()
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def prepare(self, model: Albef, optimizer: torch.optim.Optimizer) -> None:
        """Have memory for the first copy made ready in the background. Called when the optimiser has its moments."""
        self._pending = self._pool.submit(self._snapshot.reserve, _state(0, model, optimizer, {}))

    def save(
        self, step: int, model: Albef, optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]
    ) -> float:
        """Begin to write the state after `step` steps, and what callbacks keep; returns the seconds training waited.

        It waits for the write before this one, which may be waiting for storage, and for the copy of the state. Raises
        InputError where the storage took too long (a full disk): the checkpoints before are still there.
        """
        began = time.perf_counter()
        self.wait()
        state = self._snapshot.take(_state(step, model, optimizer, kept))
        self._pending = self._pool.submit(self._storage.write, lambda: self._write(step, state))
        return time.perf_counter() - began

    def wait(self) -> None:
        """Return when everything is on disk; raises what kept it from getting there."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for a write under way, but not for storage; nothing can be saved afterwards."""
        if self._pending is not None:
            self._storage.leave()
        self._pool.shutdown()

    def _write(self, step: int, state: Mapping[str, Any]) -> None:
        path = self._folder / f"step-{step:08d}.pt"
        with atomic_path(path) as temporary:
            with HashedFile(temporary) as file:
                file.save(state)
            facts = {
                "bytes": file.bytes,
                "sha256": file.digest,
                "step": step,
                "identity": self._identity,
                "workers": self._workers,
            }
            write_json(_facts(path), facts)
        for old in _saved(self._folder)[:-KEPT]:
            _remove(old)


def load_state(
    path: Path, model: Albef, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[int, dict[str, Any]]:
    """Load the intact state at `path`; returns its step, and what callbacks kept. Only tensors are unpickled.

    Raises InputError where it belongs to another training or network.
    """
    facts = _read_facts(path)
    if facts["identity"] != identity:
        raise InputError(
            f"{path}: of training {facts['identity']}, not of {identity}; remove it, or put it back where it was"
        )
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not fit this network ({problem}); remove it") from error
    return int(state["step"]), state.get("kept", {})


def newest_intact(folder: Path, tell: Callable[[str], None]) -> Path | None:
    """The newest state that is what was written; None where there is none. Others are passed over, saying so."""
    for path in reversed(_saved(folder)):
        try:
            intact(path)
        except ValueError as error:
            tell(f"{path}: {error}; the one before it is used")
            continue
        return path
    return None


def intact(path: Path) -> dict[str, Any]:
    """What is recorded of the state at `path`. Raises ValueError where its bytes are not those that were written."""
    facts = _read_facts(path)
    if (size := path.stat().st_size) != facts["bytes"]:
        raise ValueError(f"torn: {size} bytes of {facts['bytes']}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != facts["sha256"]:
        raise ValueError("changed since it was written: its checksum is another")
    return facts


def sweep(folder: Path) -> list[str]:
    """Remove what writers left that died while they wrote; returns the names. Nobody may be writing meanwhile."""
    orphans = [path for path in folder.glob("step-*.json") if not path.with_suffix(".pt").exists()]
    for path in orphans:
        path.unlink(missing_ok=True)
    return sorted([*sweep_temporaries(folder), *(path.name for path in orphans)])


def remove_states(folder: Path) -> None:
    """Remove all states of a finished training."""
    for path in _saved(folder):
        _remove(path)


def _state(
    step: int, model: Albef, optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "kept": dict(kept),
    }


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(_facts(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"nothing says its checksum ({_facts(path).name} cannot be read)") from error


def _remove(path: Path) -> None:
    # The state first: facts without a state are swept, a state without facts would be reported.
    path.unlink(missing_ok=True)
    _facts(path).unlink(missing_ok=True)


def _facts(path: Path) -> Path:
    return path.with_suffix(".json")


def _saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))
