"""The driver's thread that carries journals to a tracker, and never bothers training with it."""

import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from amc_platform.tracking.events import Ending
from amc_platform.tracking.names import check_name
from amc_platform.tracking.opening import without_credentials
from amc_platform.tracking.stream import TrialRun, TrialStream
from amc_platform.tracking.tracker import RefusedError, Run, RunRequest, Tracker

_LONGEST_DELAY_S = 30.0
_LONGEST_DELAY_CLOSING_S = 2.0
_NAMES_IN_A_WARNING = 3


@dataclass(frozen=True, slots=True)
class ParentRun:
    """The run that stands for an experiment file; found again by the hash of its resolved spec."""

    name: str
    spec_text: str
    spec_hash: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for name in self.tags:
            check_name(name, "tag")


class JournalFollower:
    """Follows the journals of trials until it is closed; made for `with`.

    Everything that a tracker raises stays in the thread: it is tried again with growing pauses, and what is
    not sent when the time to close is up stays in the journals, for the next run of the same command.
    """

    def __init__(
        self, tracker: Tracker, parent: ParentRun, *, poll_s: float = 1.0, close_timeout_s: float = 30.0
    ) -> None:
        self._tracker = tracker
        self._parent = parent
        self._poll_s = poll_s
        self._close_timeout_s = close_timeout_s
        self._lock = threading.Lock()
        self._streams: dict[str, TrialStream] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="amc-tracking-")
        spec = Path(self._scratch.name) / "spec.yaml"
        spec.write_text(parent.spec_text, encoding="utf-8")
        self._parent_artifacts: list[tuple[Path, str]] = [(spec, "")]
        self._parent_run: Run | None = None
        self._remarks: dict[str, None] = {}
        self._error: Exception | None = None
        self._ending: Ending | None = None
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._done = False
        self._closed: list[str] | None = None
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
        broken: Ending = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        self.close(status=None if error is None else broken)

    def follow(self, trial: TrialRun) -> None:
        """Track a trial from now on; its journal need not exist yet. A known identity is not taken twice."""
        with self._lock:
            if trial.identity not in self._streams:
                self._streams[trial.identity] = TrialStream(trial, self._tracker, self._tell)

    def run_id(self, identity: str) -> str | None:
        """Return the id of a followed trial's run, None while it has none."""
        with self._lock:
            stream = self._streams.get(identity)
        return stream.run_id if stream else None

    def parent_artifact(self, path: str | Path, to: str = "") -> None:
        """Send a file, or what a folder holds, to the experiment's run."""
        with self._lock:
            self._parent_artifacts.append((Path(path).absolute(), to))

    @property
    def trouble(self) -> str | None:
        """What keeps the tracker from taking anything just now, in one line; None while all is well."""
        return None if self._error is None else _one_line(self._error)

    def close(self, timeout_s: float | None = None, status: Ending | None = None) -> list[str]:
        """Send what is left, end the runs, and return what could not be sent: plain lines, none if all was.

        Takes at most `timeout_s` (None: that of the constructor). Trials that have not ended are set KILLED;
        the experiment's run gets `status` (None: FAILED where a trial failed, else FINISHED). A second call
        returns the same lines.
        """
        if self._closed is None:
            timeout_s = self._close_timeout_s if timeout_s is None else timeout_s
            self._ending = status
            self._deadline = time.monotonic() + timeout_s
            self._closing.set()
            if self._thread.is_alive():
                self._thread.join(timeout_s)
            self._closed = self._warnings()
            self._scratch.cleanup()
        return self._closed

    def _work(self) -> None:
        delay = self._poll_s
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
                self._done, self._error, delay = closing, None, self._poll_s
            except Exception as error:
                self._error, delay = error, min(2 * delay, _LONGEST_DELAY_S)
            if self._done or self._expired():
                return
            if closing:
                left = self._deadline - time.monotonic()
                time.sleep(max(0.0, min(delay, left, _LONGEST_DELAY_CLOSING_S)))
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
        self._send_parent_artifacts(parent)
        if failed is not None:
            raise failed

    def _open_parent(self) -> Run:
        keys = {"amc.spec_hash": self._parent.spec_hash}
        run = self._tracker.open_run(RunRequest(self._parent.name, keys, self._parent.tags))
        if run.ended:
            self._tracker.reopen(run)
        self._tracker.set_tags(run, self._parent.tags)
        return Run(run.id)

    def _send_parent_artifacts(self, parent: Run) -> None:
        while self._parent_artifacts:
            path, to = self._parent_artifacts[0]
            try:
                if path.exists():
                    self._tracker.log_artifact(parent, path, to)
                else:
                    self._tell(f"{path}: was gone before it could be sent")
            except RefusedError as refusal:
                self._tell(f"{path}: refused ({refusal})")
            with self._lock:
                self._parent_artifacts.pop(0)

    def _end_runs(self) -> None:
        streams = list(self._streams.values())
        for stream in streams:
            stream.interrupt()
        if self._parent_run is not None:
            ending = self._ending or ("FAILED" if any(stream.failed for stream in streams) else "FINISHED")
            self._tracker.finish(self._parent_run, ending)

    def _expired(self) -> bool:
        return time.monotonic() >= self._deadline

    def _tell(self, remark: str) -> None:
        self._remarks[_one_line(remark)] = None

    def _warnings(self) -> list[str]:
        lines = list(self._remarks)
        if self._done:
            return lines
        names = [stream.trial.name for stream in self._streams.values() if stream.unsent()]
        names += [path.name for path, _ in self._parent_artifacts]
        shown = ", ".join(names[:_NAMES_IN_A_WARNING])
        more = f" and {len(names) - _NAMES_IN_A_WARNING} more" if len(names) > _NAMES_IN_A_WARNING else ""
        what = f"not all of {shown}{more}" if names else "the end of the runs"
        reason = self.trouble or "no answer in time"
        lines.append(
            f"{what} could be sent to {self._tracker.destination} ({reason}); "
            "the journals keep it, and the next run of the same command sends it"
        )
        return lines


def _one_line(error: Exception | str) -> str:
    text = without_credentials(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 240 else text[:239] + "…"
