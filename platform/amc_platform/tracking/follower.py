"""The driver's thread that carries journals to a tracker, and never bothers training with it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from amc_models.errors import InputError
from amc_platform.tracking.events import Ending
from amc_platform.tracking.opening import open_tracker, without_credentials
from amc_platform.tracking.outbox import Destination, Outbox, ParentRun
from amc_platform.tracking.stream import Sent, TrialRun, TrialStream, open_alone
from amc_platform.tracking.tracker import RefusedError, Run, RunRequest, Tracker

_NAMES_IN_A_WARNING = 3


@dataclass(frozen=True, slots=True)
class Clock:
    """When things are sent, and how long is waited, in seconds; `close_s` is for all that is left at the end."""

    poll_s: float = 1.0
    longest_delay_s: float = 30.0
    """Pauses after a failure double from `poll_s` to this."""
    close_s: float = 30.0
    longest_delay_closing_s: float = 2.0
    last_lines_s: float = 5.0
    """How long a worker that the command has just stopped may still hold its journal."""


@contextmanager
def following(
    output: Path, destination: Destination, parent: ParentRun, clock: Clock | None = None
) -> Iterator["JournalFollower"]:
    """A follower for an experiment; what it is given stands in the output folder before anything is sent.

    Raises InputError for a destination that is none, and where the output folder cannot be written.
    """
    tracker = open_tracker(destination.kind, destination.uri, destination.experiment, output)
    with (
        Outbox.opened(output.absolute(), destination, parent) as outbox,
        JournalFollower(tracker, outbox, clock) as follower,
    ):
        yield follower


class JournalFollower:
    """Follows the journals of trials until it is closed; made for `with`.

    Everything that a tracker raises stays in the thread: it is tried again with growing pauses, and what is
    not sent when the time to close is up stays on disk, for the next run of the same command or for `replay`.
    """

    def __init__(self, tracker: Tracker, outbox: Outbox, clock: Clock | None = None) -> None:
        assert outbox.parent is not None, "an outbox begins with its experiment"
        self._tracker = tracker
        self._outbox = outbox
        self._parent = outbox.parent
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._streams: dict[str, TrialStream] = {}
        self._parent_run: Run | None = None
        self._remarks: dict[str, None] = {}
        self._error: Exception | None = None
        self._ending: tuple[Ending, str] = ("FINISHED", "")
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._done = False
        self._closed: list[str] | None = None
        self._artifacts_sent = 0
        # A daemon: a request that hangs must not keep the command from leaving.
        self._thread = threading.Thread(target=self._work, name="journal-follower", daemon=True)

    def __enter__(self) -> Self:
        # Imports are made here: two threads that import large packages at once can trip over each other.
        # Should they fail, the thread meets the same error, and keeps it for the warning.
        with suppress(Exception):
            self._tracker.prepare()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close(status="KILLED", error="interrupted")
        else:
            self.close(status="FAILED", error=_one_line(error))

    def follow(self, trial: TrialRun) -> None:
        """Track a trial from now on; its journal need not exist yet. A known identity is not taken twice."""
        with self._lock:
            if trial.identity not in self._streams:
                self._outbox.follow(trial)
                self._streams[trial.identity] = TrialStream(trial, self._tracker, self._tell)

    def run_id(self, identity: str) -> str | None:
        """Return the id of a followed trial's run, None while it has none."""
        with self._lock:
            stream = self._streams.get(identity)
        return stream.run_id if stream else None

    def parent_artifact(self, path: str | Path, to: str = "") -> None:
        """Send a file, or what a folder holds, to the experiment's run."""
        with self._lock:
            self._outbox.artifact(Path(path).absolute(), to)

    @property
    def trouble(self) -> str | None:
        """What keeps the tracker from taking anything just now, in one line; None while all is well."""
        return None if self._error is None else _one_line(self._error)

    @property
    def sent(self) -> Sent:
        """How much was sent so far."""
        return sum((stream.sent for stream in self._streams.values()), Sent(artifacts=self._artifacts_sent))

    def close(
        self, timeout_s: float | None = None, status: Ending | None = None, error: str = ""
    ) -> list[str]:
        """Send what is left, end the runs, and return what could not be sent: plain lines, none if all was.

        Takes at most `timeout_s` (None: that of the clock). Trials that have not ended and that nobody trains any more
        end as FAILED where they were trained under this follower and `status` is that, else as KILLED. The
        experiment's run gets `status` (None: FAILED where a trial failed, else FINISHED) and `error`. A second call
        returns the same lines.
        """
        if self._closed is None:
            timeout_s = self._clock.close_s if timeout_s is None else timeout_s
            failed = any(stream.failed for stream in self._streams.values())
            self._ending = status or ("FAILED" if failed else "FINISHED"), error
            with suppress(InputError):  # a full disk is no reason to hide how the command ended
                self._outbox.close(*self._ending)
            self._deadline = time.monotonic() + timeout_s
            self._closing.set()
            if self._thread.is_alive():
                self._thread.join(timeout_s)
            self._closed = self._warnings()
        return self._closed

    def _work(self) -> None:
        clock = self._clock
        delay = clock.poll_s
        while True:
            closing = self._closing.is_set()
            try:
                try:
                    self._pass()
                finally:
                    if closing and not self._expired():
                        self._end_runs()
                if self._expired():  # the pass may have been broken off: what was wrong before still is
                    return
                self._done, self._error, delay = closing, None, clock.poll_s
            except Exception as error:
                self._error, delay = error, min(2 * delay, clock.longest_delay_s)
            if self._done or self._expired():
                return
            if closing:
                left = self._deadline - time.monotonic()
                time.sleep(max(0.0, min(delay, left, clock.longest_delay_closing_s)))
            else:
                self._closing.wait(delay)

    def _pass(self) -> None:
        parent = self._parent_run = self._parent_run or self._open_parent()
        with self._lock:
            streams = list(self._streams.values())
        failed: Exception | None = None
        for stream in streams:
            if self._expired():
                return
            try:
                stream.pump(parent, self._expired)
            except Exception as error:  # one trial's trouble must not keep back the others
                failed = error
        self._send_artifacts(parent)
        if failed is not None:
            raise failed

    def _open_parent(self) -> Run:
        keys = {"amc.spec_hash": self._parent.spec_hash}
        request = RunRequest(self._parent.name, keys, self._parent.tags)
        run = open_alone(self._tracker, request, self._outbox.path.with_suffix(".lock"))
        if run.ended:
            self._tracker.reopen(run)
        self._tracker.set_tags(run, self._parent.tags)
        return Run(run.id)

    def _send_artifacts(self, parent: Run) -> None:
        while self._outbox.artifacts:
            with self._lock:
                name, to = next(iter(self._outbox.artifacts))
            path = self._outbox.output / name
            try:
                if path.exists():
                    self._tracker.log_artifact(parent, path, to)
                    self._artifacts_sent += 1
                else:
                    self._tell(f"{path}: was gone before it could be sent")
            except RefusedError as refusal:
                self._tell(f"{path}: refused ({refusal})")
            with self._lock:
                self._outbox.sent(name, to)

    def _end_runs(self) -> None:
        status, error = self._ending
        patience = time.monotonic() + self._clock.last_lines_s
        for stream in self._streams.values():
            while stream.is_written and time.monotonic() < min(patience, self._deadline):
                time.sleep(0.05)
            stream.interrupt(error, failed=status == "FAILED")
        if self._parent_run is not None:
            self._tracker.finish(self._parent_run, status, error=error)
            self._outbox.end()

    def _expired(self) -> bool:
        return time.monotonic() >= self._deadline

    def _tell(self, remark: str) -> None:
        self._remarks[_one_line(remark)] = None

    def _warnings(self) -> list[str]:
        lines = list(self._remarks)
        if self._done:
            return lines
        names = [stream.trial.name for stream in self._streams.values() if stream.unsent()]
        names += [Path(name).name for name, _ in self._outbox.artifacts]
        shown = ", ".join(names[:_NAMES_IN_A_WARNING])
        more = f" and {len(names) - _NAMES_IN_A_WARNING} more" if len(names) > _NAMES_IN_A_WARNING else ""
        what = f"not all of {shown}{more}" if names else "the end of the runs"
        reason = self.trouble or "no answer in time"
        lines.append(
            f"{what} could be sent to {self._tracker.destination} ({reason}); the journals keep it, and "
            f"`amc track replay {self._outbox.output}`, or the same command again, sends it"
        )
        return lines


def _one_line(error: BaseException | str) -> str:
    text = without_credentials(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 240 else text[:239] + "…"
