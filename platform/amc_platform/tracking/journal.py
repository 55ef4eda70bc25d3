"""What training says about a run: appended to a file, so that no server can slow it down or lose it."""

import fcntl
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from amc_models.errors import InputError
from amc_platform.files import unwritable
from amc_platform.storage import Storage
from amc_platform.tracking.events import Ending, encode, number
from amc_platform.tracking.names import check_name, value_text

JOURNAL = "journal.jsonl"
_BLOCK_BYTES = 65536


class Journal:
    """The single writer of `<trial folder>/journal.jsonl`.

    Every call appends one whole line and returns; a process killed in the middle leaves at most a torn last
    line, which the next writer cuts off. A resumed training simply writes its steps again: readers keep the
    first point of every (name, step).

    Raises InputError where the folder cannot be written or the device is full; with `storage`, after its time limit.
    """

    seconds: float = 0.0
    """Time that this writer has taken from its caller."""

    def __init__(self, folder: str | Path, storage: Storage | None = None) -> None:
        self.path = Path(folder) / JOURNAL
        self._storage = storage
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            # Says that somebody trains here, as long as this process lives; see `is_written`.
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.ftruncate(self._file, end := _end_of_whole_lines(self._file))
        except OSError as error:
            raise unwritable(self.path, error, "output") from error
        if end == 0:
            # The head makes the first line of every journal its own: a run is tied to it, so that a trial
            # that is started over gets a new run and one that is resumed finds the old one.
            self._append("journal", id=uuid.uuid4().hex)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of one step; numbers of torch and numpy are taken too."""
        self._append(
            "metrics", step=int(step), metrics={check_name(k): number(float(v)) for k, v in values.items()}
        )

    def params(self, values: Mapping[str, object]) -> None:
        """Write parameters; the first value of a name is the one that is kept."""
        self._append("params", params={check_name(k, "parameter"): value_text(v) for k, v in values.items()})

    def tags(self, values: Mapping[str, object]) -> None:
        """Write tags; the last value of a name is the one that is kept."""
        self._append("tags", tags={check_name(k, "tag"): value_text(v) for k, v in values.items()})

    def artifact(self, path: str | Path, to: str = "") -> None:
        """Announce a finished file or folder inside the trial folder, to be shown in the run's folder `to`.

        `path` is absolute or relative to the trial folder. Raises InputError where it is not there.
        """
        self._append("artifact", path=self._inside(path), to=to)

    def model(
        self,
        path: str | Path,
        *,
        name: str,
        scores: Mapping[str, float],
        measured: str,
        steps: int,
        upload: bool,
    ) -> None:
        """Announce a finished checkpoint folder inside the trial folder as a version of a model: see `Model`."""
        self._append(
            "model",
            path=self._inside(path),
            name=name,
            scores={check_name(k, "benchmark"): float(v) for k, v in scores.items()},
            measured=measured,
            steps=steps,
            upload=upload,
        )

    def status(self, status: Ending, error: str = "") -> None:
        """Say how the run ended; `error` in one line, where one ended it."""
        self._append("status", status=status, **({"error": error} if error else {}))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _inside(self, path: str | Path) -> str:
        folder = self.path.parent
        inside = Path(path).resolve() if Path(path).is_absolute() else (folder / path).resolve()
        if not inside.is_relative_to(folder.resolve()) or not inside.exists():
            raise InputError(
                f"{path}: no file or folder inside {folder}; write it there before it is announced"
            )
        return inside.relative_to(folder.resolve()).as_posix()

    def _append(self, kind: str, **fields: object) -> None:
        began = time.perf_counter()
        line = encode(kind, time.time(), fields)

        def write() -> None:
            # Of a line that was cut short, the rest is written when it is tried again.
            nonlocal line
            try:
                while line:
                    line = line[os.write(self._file, line) :]
            except OSError as error:
                raise unwritable(self.path, error, "output") from error

        try:
            write() if self._storage is None else self._storage.write(write)
        finally:
            self.seconds += time.perf_counter() - began


def is_written(folder: Path) -> bool:
    """Whether a living process holds the journal of a trial folder open for writing."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _end_of_whole_lines(file: int) -> int:
    """Return the offset behind the last newline, 0 where there is none."""
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
