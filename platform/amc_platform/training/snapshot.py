"""A copy of a training's state in memory, and the file it is written to from there."""

import hashlib
import os
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor


class Snapshot:
    """Copies a state to the CPU, each time into the same memory: fresh memory would cost more than the copying.

    A copy is good until the next one is taken.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, state: dict[str, Any]) -> dict[str, Any]:
        """`state` (dictionaries and lists with tensors in them) with copies in the place of tensors."""
        copied = self._copy(state, "")
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return copied

    def _copy(self, value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            return self._place(value, name).copy_(value.detach(), non_blocking=True)
        if isinstance(value, dict):
            return {key: self._copy(item, f"{name}/{key}") for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [self._copy(item, f"{name}/{i}") for i, item in enumerate(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return value

    def _place(self, value: Tensor, name: str) -> Tensor:
        held = self._held.get(name)
        if held is None or held.shape != value.shape or held.dtype != value.dtype:
            # From a GPU, page-locked memory is filled without waiting.
            held = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._held[name] = held
        return held


class HashedFile:
    """A new file that knows the SHA-256 and the number of the bytes written to it; on the disk when it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._fault: OSError | None = None
        self.bytes = 0

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def save(self, state: Any) -> None:
        """Write `state` as torch.save does. Raises OSError as the disk gave it (torch makes another error of it)."""
        try:
            torch.save(state, self)  # pyright: ignore[reportArgumentType]
            self.flush()
            os.fsync(self._file.fileno())
        except Exception:
            if self._fault is not None:
                raise self._fault from None
            raise

    def write(self, data: bytes | memoryview) -> int:
        """Append."""
        try:
            written = self._file.write(data)
        except OSError as error:
            self._fault = error
            raise
        self._hash.update(data)
        self.bytes += written
        return written

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()
