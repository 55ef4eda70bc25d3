"""Followers, trials and trackers that tests of tracking are made of."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from amc_platform.tracking import Clock, Destination, Journal, JournalFollower, Outbox, ParentRun, TrialRun
from amc_platform.tracking.events import Ending, Point
from amc_platform.tracking.jsonl_tracker import JsonlTracker
from amc_platform.tracking.tracker import Run

PARENT = ParentRun("amc/a", "name: a\n", "c0ffee", {"git.sha": "abc"})
CLOCK = Clock(poll_s=0.01, close_s=60, last_lines_s=0.1)


class Recorder(JsonlTracker):
    """Keeps besides every point it was given, and asks `before` whether to fail first."""

    def __init__(self, path: Path, before: Callable[[Sequence[Point]], None] = lambda points: None) -> None:
        super().__init__(path)
        self.points: list[tuple[str, int, float]] = []
        self._before = before

    def log_metrics(self, run: Run, points: Sequence[Point]) -> None:
        self._before(points)
        self.points += [(point.key, point.step, point.value) for point in points]
        super().log_metrics(run, points)


def trial(folder: Path, identity: str = "t0") -> TrialRun:
    return TrialRun(folder, f"amc {identity}", identity, {"training.lr": "0.1"}, {"seed": "0"})


def follower(output: Path, tracker: Any, kind: str = "jsonl") -> JournalFollower:
    """A follower as a command makes it, but for the lock that says that the command lives."""
    with Outbox.opened(output, Destination(kind, None, "amc/a"), PARENT) as box:
        return JournalFollower(tracker, box, CLOCK)


def write(folder: Path, steps: Sequence[int], status: Ending | None = "FINISHED") -> None:
    with Journal(folder) as journal:
        for step in steps:
            journal.metrics(step, {"loss": step / 2})
        if status:
            journal.status(status)


def lines(path: Path) -> dict[str, dict[str, Any]]:
    """The runs in a file of the JSONL tracker, by name."""
    return {line["name"]: line for line in map(json.loads, path.read_text().splitlines())}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
