"""A group in which nothing moves: found by every rank that still lives, which then ends it.

All ranks train in step, so that one that hangs stops them all. A thread of each rank writes a sign of life; the rank
whose signs stopped, or which is steps behind, is the one that hangs.
"""

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from amc_models.albef import Albef
from amc_platform.data.loader import TrainingLoader
from amc_platform.files import write_json, write_text
from amc_platform.training.callbacks.base import Callback, StepEnd, Training

_SIGNS = 5
"""Signs of life within the time limit."""


@dataclass(frozen=True)
class Sign:
    """What a rank says of itself."""

    rank: int
    node: str
    pid: int
    steps: int
    count: int = 0
    """Signs given before."""

    def __str__(self) -> str:
        """Who it is."""
        return f"rank {self.rank} (process {self.pid} on {self.node})"


def hanging(before: list[Sign], now: list[Sign]) -> list[Sign]:
    """Which ranks hang, out of their signs at two moments: silent ones, else those behind, else all."""
    counts = {sign.rank: sign.count for sign in before}
    silent = [sign for sign in now if sign.count == counts.get(sign.rank)]
    behind = min((sign.steps for sign in now), default=0)
    return silent or [sign for sign in now if sign.steps == behind]


class HangWatch(Callback):
    """Ends this process, and those on its node that hang, when no step ends within `limit_s` seconds.

    It looks from the first step of a start to the last; validations in between count. The reason is left in `told`.
    Made for `with`.
    """

    def __init__(self, folder: Path, told: Path, rank: int, limit_s: float) -> None:
        self._folder, self._told, self._limit_s = folder, told, limit_s
        self._sign = Sign(rank, socket.gethostname(), os.getpid(), 0)
        self._moved: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang-watch", daemon=True)

    def __enter__(self) -> Self:
        # At once: a rank that hangs before its thread gave a sign would not be known to the others.
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def on_train_start(self, training: Training, model: Albef, loader: TrainingLoader, steps: int) -> None:
        """Begin to look."""
        self._move(steps, looks=steps < training.job.experiment.training.steps)

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """Note that there was a step."""
        last = training.job.experiment.training.steps
        self._move(step.steps, looks=step.steps < last and not training.stopped and not training.order)

    def _move(self, steps: int, *, looks: bool) -> None:
        self._sign = replace(self._sign, steps=steps)
        self._moved = time.monotonic() if looks else None

    def _watch(self) -> None:
        before: list[Sign] = []
        while not self._closed.wait(self._limit_s / _SIGNS):
            self._sign = replace(self._sign, count=self._sign.count + 1)
            self._write()
            now = self._signs()
            if self._moved is not None and time.monotonic() - self._moved > self._limit_s:
                self._end(hanging(before, now))
            before = now

    def _write(self) -> None:
        # What cannot be written now is written with the next sign; never below a mount point whose mount is gone.
        with suppress(Exception):
            self._folder.mkdir(exist_ok=True)
            write_json(self._folder / f"rank-{self._sign.rank:04d}.json", asdict(self._sign))

    def _signs(self) -> list[Sign]:
        signs: list[Sign] = []
        with suppress(OSError):
            for path in sorted(self._folder.glob("rank-*.json")):
                with suppress(OSError, ValueError):
                    signs.append(Sign(**json.loads(path.read_text(encoding="utf-8"))))
        return signs

    def _end(self, hung: list[Sign]) -> None:
        who = ", ".join(str(sign) for sign in hung)
        text = f"no step within {self._limit_s:g} s after step {self._sign.steps}: {who} hangs"
        with suppress(Exception):
            write_text(self._told, text)
        here = [sign.pid for sign in hung if sign.node == self._sign.node and sign.pid != os.getpid()]
        for pid in [*here, os.getpid()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
