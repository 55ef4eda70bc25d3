"""The worker groups of a command: started when there is work and room, kept until the end, never left behind."""

import shutil
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from amc_platform.files import Lock
from amc_platform.spec import ClusterSpec
from amc_platform.training.lane import Lane
from amc_platform.training.trial import TrialJob
from amc_platform.training.vitals import Vitals
from amc_platform.training.worker import (
    groups_that_fit,
    ray_session,
    room_for_another,
    vital_addresses,
    work,
)

Tell = Callable[[str], None]
_FOLDER = "crew-"
_LEAVE_S = 30.0
_LEAVE_ENDED_S = 5.0


@dataclass
class _Group:
    """A worker group in a thread of this process."""

    lane: Lane
    thread: threading.Thread
    errors: list[BaseException]
    given: int = 0
    job: TrialJob | None = None

    @property
    def idle(self) -> bool:
        """Whether it waits for a trial."""
        return self.job is None and self.thread.is_alive()


@dataclass(frozen=True)
class Ended:
    """A trial that ended, the error that ended it (empty for none), and the one that ended its group with it."""

    job: TrialJob
    error: str
    fatal: BaseException | None = None


@dataclass
class Crew:
    """At most `most` groups of the size that `cluster` says (None: as many as it holds). Made for `with`.

    Ray is started with the first trial: a command that finds everything done starts none.
    """

    cluster: ClusterSpec
    folder: Path
    tell: Tell
    most: int | None = None
    _groups: list[_Group] = field(default_factory=list["_Group"])
    _stack: ExitStack = field(default_factory=ExitStack)
    _capacity: int = 0
    _read: int = 0
    _away: bool = False
    _vitals: Vitals | None = None

    def __enter__(self) -> Self:
        _sweep(self.folder)
        self._home = self.folder / f"{_FOLDER}{uuid.uuid4().hex[:8]}"
        self._lock = Lock(self._home / "lock")
        self._lock.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for group in self._groups:
                group.lane.close()
            # After an error a group may still be in the middle of a trial: Ray ends it with this process's session.
            for group in self._groups:
                group.thread.join(_LEAVE_S if error is None else 1.0)
            self._pass_on()
        finally:
            self._stack.close()
            for group in self._groups:
                group.thread.join(_LEAVE_S if error is None else _LEAVE_ENDED_S)
            self._lock.release()
            shutil.rmtree(self._home, ignore_errors=True)

    @property
    def home(self) -> Path:
        """Folder of this command's own files, gone when it ends."""
        return self._home

    @property
    def capacity(self) -> int:
        """How many groups there may be; starts Ray."""
        if not self._capacity:
            self._stack.enter_context(ray_session(self.cluster, self.tell))
            fit = max(1, groups_that_fit(self.cluster))
            self._capacity = min(fit, self.most) if self.most else fit
            self._vitals = Vitals(vital_addresses())
        return self._capacity

    @property
    def free(self) -> bool:
        """Whether a trial could start now; starts no Ray."""
        return (
            not self._groups
            or any(group.idle for group in self._groups)
            or (len(self._groups) < self.capacity and room_for_another(self.cluster))
        )

    def start(self, job: TrialJob) -> None:
        """Give `job` to an idle group, or to a new one."""
        group = next((group for group in self._groups if group.idle), None) or self._new_group()
        group.lane.submit(group.given, job)
        group.job = job

    def ended(self) -> list[Ended]:
        """Trials that ended since the last call. Raises RuntimeError where Ray is gone."""
        self._pass_on()
        ended: list[Ended] = []
        if lost := self._vitals.lost() if self._vitals else None:
            raise RuntimeError(f"{lost} is gone; the same command goes on from the last checkpoints")
        for group in self._groups:
            if group.job is None:
                continue
            # Asked before the answer is looked for: a group may answer and leave between the two.
            gone = not group.thread.is_alive()
            error = group.lane.answer(group.given)
            if error is not None:
                ended.append(Ended(group.job, error))
                group.job, group.given = None, group.given + 1
            elif gone:
                fatal = next(iter(group.errors), RuntimeError(f"the workers left {group.job.label} undone"))
                ended.append(Ended(group.job, str(fatal), fatal))
                group.job = None
        return ended

    def _new_group(self) -> _Group:
        number, cluster = len(self._groups), self.cluster
        assert number < self.capacity, "asked for room first"
        lane = Lane(self._home / f"lane-{number}")
        lane.open()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                work(lane, cluster)
            except BaseException as error:
                errors.append(error)

        # A daemon: a group that hangs must not keep the command from leaving.
        group = _Group(lane, threading.Thread(target=run, name=lane.folder.name, daemon=True), errors)
        group.thread.start()
        self._groups.append(group)
        return group

    def _pass_on(self) -> None:
        """Tell the lines that workers have written since."""
        try:
            with (self._home / "progress.log").open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except OSError:  # nothing was said yet, or the storage is away: the workers cannot say so
            if self._read and not self._away:
                limit_s = self.cluster.storage_timeout_s
                self.tell(
                    f"{self._home}: cannot be read; training waits for its storage, at most {limit_s:g} s"
                )
                self._away = True
            return
        self._away = False
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            self.tell(line)


def _sweep(folder: Path) -> None:
    """Remove what commands that were killed left behind."""
    for home in folder.glob(f"{_FOLDER}*"):
        lock = Lock(home / "lock")
        if lock.take():
            lock.release()
            shutil.rmtree(home, ignore_errors=True)
