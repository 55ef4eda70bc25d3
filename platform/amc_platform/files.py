"""Writing files so that a reader sees the old content or the new, never half of one."""

import errno
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from amc_models.errors import InputError

_TEMPORARY = ".tmp"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_AWAY = frozenset(
    {
        errno.EACCES,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.EPERM,
        errno.EREMOTEIO,
        errno.EROFS,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
REFUSALS = _FULL | _AWAY
"""What storage answers that is full or away: the same write may succeed later."""


class UnwritableError(InputError):
    """Storage refused a write that it may take later."""


def unwritable(path: Path, error: OSError, place: str = "path") -> InputError:
    """What the user is told of a write to `path` that failed; `place` is what else could be chosen."""
    if error.errno in _FULL:
        return UnwritableError(f"{path}: no space left on the device; free some or write elsewhere")
    kind = UnwritableError if error.errno in _AWAY else InputError
    return kind(f"{path}: cannot be written ({error.strerror}); choose another {place}")


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `target`; on success it takes the target's place, else it is removed.

    The sibling may become a file or a folder. An existing target folder is replaced.
    Raises InputError where the folder cannot be written, UnwritableError where that may pass (a full disk).
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{_TEMPORARY}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except OSError as error:
        if error.errno in REFUSALS | {errno.ENOTDIR, errno.EEXIST}:
            raise unwritable(target, error) from error
        raise
    finally:
        _remove(temporary)


def sweep_temporaries(folder: Path, pattern: str = "*", *, deep: bool = False) -> list[str]:
    """Remove what writers of `folder` left that died meanwhile, of targets that `pattern` names; returns the names.

    `deep`: in all folders below too. Nobody may be writing such a target.
    """
    pattern = f".{pattern}.{'[0-9a-f]' * 8}{_TEMPORARY}"
    left = sorted(folder.rglob(pattern) if deep else folder.glob(pattern))
    for path in left:
        _remove(path)
    return [path.name for path in left]


def _remove(path: Path) -> None:
    """Remove a file or a folder, which may be gone; what cannot be removed now is swept later."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(target: str | Path, text: str) -> None:
    """Atomically write `text` as UTF-8."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: str | Path, value: Any) -> None:
    """Atomically write `value` as indented JSON with sorted keys."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True) + "\n")


class Lock:
    """A file that one process at a time holds; the kernel lets go of it when that process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def take(self, wait_s: float = 0.0) -> bool:
        """Take it within `wait_s` seconds; returns whether it is held. Raises InputError for an unwritable folder."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror}); choose another output"
            ) from error
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(file)
                    return False
                time.sleep(0.05)
            else:
                self._file = file
                return True

    def release(self) -> None:
        """Let go of it; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
