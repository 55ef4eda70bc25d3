"""Reading a journal, also while it is written."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amc_platform.tracking.events import (
    Artifact,
    Event,
    Metrics,
    Model,
    Params,
    Point,
    Status,
    Tags,
    decode,
)
from amc_platform.tracking.journal import JOURNAL

_TAIL_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Batch:
    """New points, or one other event, and the offset of the journal behind them."""

    points: tuple[Point, ...]
    event: Params | Tags | Artifact | Model | Status | None
    end: int


@dataclass(frozen=True, slots=True)
class Head:
    """What tells a journal from every other (a hash of its first line), and when it was begun."""

    id: str
    time_ms: int


def journal_head(path: Path) -> Head | None:
    """Return the head of a journal, None where it has no whole line yet."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    if not line.endswith(b"\n"):
        return None
    begun = re.search(rb'"time":([0-9.]+)', line)
    return Head(hashlib.sha256(line).hexdigest()[:16], round(float(begun[1]) * 1000) if begun else 0)


def history(folder: str | Path) -> dict[str, list[Point]]:
    """Return the points of every metric of a trial in the order of steps, each (name, step) once.

    Empty where the trial has no journal yet.
    """
    points: defaultdict[str, list[Point]] = defaultdict(list)
    reader = JournalReader(Path(folder) / JOURNAL)
    while (batch := reader.next_batch()) is not None:
        for point in batch.points:
            points[point.key].append(point)
    return {key: sorted(of_key, key=lambda point: point.step) for key, of_key in sorted(points.items())}


def latest(path: Path) -> Iterator[Event]:
    """Yield the events of the last 64 KiB of a journal, the last one first; none where it is missing."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(start)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return
    for line in reversed(lines[1 if start else 0 : -1]):
        with suppress(ValueError):
            if (event := decode(line)) is not None:
                yield event


class JournalReader:
    """Reads whole lines from `offset` on; a torn last line waits until it is whole.

    Points that stand before the offset, or that were read already, are left out: a resumed training writes
    its steps again, and the first writing counts. `damaged` counts lines that could not be read.
    """

    def __init__(self, path: Path, offset: int = 0, batch_points: int = 1000) -> None:
        self.path = path
        self.damaged = 0
        self._batch_points = batch_points
        self._position = 0
        self._seen: set[tuple[str, int]] = set()
        for event, _, end in self._events(until=offset):
            self._position = end
            if isinstance(event, Metrics):
                self._new(event)
        self._position = offset
        self.damaged = 0

    def next_batch(self) -> Batch | None:
        """Return what follows, None where nothing new is there (yet)."""
        begin = self._position
        points: list[Point] = []
        for event, start, end in self._events():
            if isinstance(event, Metrics):
                points += self._new(event)
            elif event is not None:
                if start > begin:
                    break  # the points before it first; it is read again
                self._position = end
                return Batch((), event, end)
            self._position = end
            if len(points) >= self._batch_points:
                break
        return None if self._position == begin else Batch(tuple(points), None, self._position)

    def _new(self, event: Metrics) -> list[Point]:
        new = [point for point in event.points if (point.key, point.step) not in self._seen]
        self._seen.update((point.key, point.step) for point in new)
        return new

    def _events(self, until: int | None = None) -> Iterator[tuple[Event | None, int, int]]:
        """Yield the whole lines from the position on with their start and end; None for one of no use."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            end = self._position
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n") or (until is not None and end >= until):
                    return
                start, end = end, end + len(line)
                yield self._decoded(line), start, end

    def _decoded(self, line: bytes) -> Event | None:
        try:
            return decode(line)
        except ValueError:
            self.damaged += 1
            return None
