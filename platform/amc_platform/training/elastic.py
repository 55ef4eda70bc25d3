"""A group whose size follows the room in the cluster, between trials' steps and never within one."""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from amc_platform.files import write_text
from amc_platform.training.lane import Lane
from amc_platform.training.orders import give_order, withdraw_order
from amc_platform.training.trial import TrialJob, TrialStatus

LOOK_S = 3.0
_SETTLE_S = 2.0

Fits = Callable[[int], bool]
"""Whether so many more workers could be placed just now."""


def wait_for_room(sizes: Sequence[int], fits: Fits, tell: Callable[[str], None]) -> int:
    """The largest of `sizes` (falling) that fits; waits while none does.

    What a group that ended held, and what a lost node had, is gone a moment later: two looks must agree.
    """
    before, told = None, False
    while True:
        size = next((size for size in sizes if fits(size)), None)
        if size is not None and size == before:
            return size
        if size is None and not told:
            tell(f"waiting for room for {sizes[-1]} workers")
            told = True
        before = size
        time.sleep(_SETTLE_S)


class Growth:
    """While a group of `size` trains `job`: lets it save its state and leave when there is room for a larger one."""

    def __init__(self, lane: Lane, job: TrialJob, size: int, fits: Fits) -> None:
        self._lane, self._job, self._size, self._fits = lane, job, size, fits
        self._starts = len(TrialStatus.read(job.folder).world_sizes)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="growth", daemon=True)

    def __enter__(self) -> Self:
        if self._size < self._job.experiment.cluster.most:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._lane.resize.exists():
            withdraw_order(self._job)
            self._lane.resize.unlink()

    def _watch(self) -> None:
        seen = 0
        while not self._closed.wait(LOOK_S):
            # Before it trains, the group has not taken yet what it will take.
            trains = len(TrialStatus.read(self._job.folder).world_sizes) > self._starts
            larger = [size for size in self._job.experiment.sizes if size > self._size]
            room = next((size for size in larger if self._fits(size - self._size)), None) if trains else None
            seen = seen + 1 if room else 0
            if room and seen > 1:
                self._lane.report(f"{self._job.label}: room for {room} workers in place of {self._size}")
                write_text(self._lane.resize, str(room))
                give_order(self._job, "pause")
                return
