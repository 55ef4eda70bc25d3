"""One trial's way from its journal to a tracker."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from amc_platform.files import Lock, write_json
from amc_platform.tracking.events import Artifact, Model, Params, Point, Status, Tags
from amc_platform.tracking.journal import JOURNAL, is_written
from amc_platform.tracking.names import check_name
from amc_platform.tracking.reader import Batch, JournalReader, journal_head, latest
from amc_platform.tracking.tracker import DataInput, RefusedError, Run, RunRequest, Tracker

_MEMORY, _LOCK = "tracked.json", "tracked.lock"
_MEMORY_FIELDS = {"run_id", "offset", "files", "open"}
_SPEC = "spec.yaml"
_LONGEST_OPENING_S = 60.0


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A trial to be tracked: its folder (journal.jsonl appears there, spec.yaml may), its name and identity.

    `params`, `tags` and `inputs` are recorded when the run is made. Raises InputError for a name no tracker takes.
    """

    folder: Path
    name: str
    identity: str
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    inputs: tuple[DataInput, ...] = ()

    def __post_init__(self) -> None:
        for what, names in (("parameter", self.params), ("tag", self.tags)):
            for name in names:
                check_name(name, what)


@dataclass(frozen=True, slots=True)
class Sent:
    """How much was sent; points that were sent twice count twice, though they stand once in the store."""

    points: int = 0
    artifacts: int = 0
    models: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


class TrialStream:
    """Sends a journal in order, and remembers in `<trial folder>/tracked.json` how far it came.

    A batch is remembered after it was taken: after a crash between the two it is sent again, which changes
    nothing (see Tracker). The run is tied to the journal: started over, a trial gets a new run; and where the
    store has lost the run, or is another one, everything is sent from the beginning. Artifacts and models go last, and
    those that cannot be sent hold up nothing else.
    """

    def __init__(self, trial: TrialRun, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self.trial = trial
        self.sent = Sent()
        self._tracker = tracker
        self._tell = tell
        self._journal = trial.folder / JOURNAL
        self._size_at_first = self._journal.stat().st_size if self._journal.exists() else 0
        self._run: Run | None = None
        self._reader: JournalReader | None = None
        self._pending: Batch | None = None
        self._offset = 0
        self._files: list[Artifact | Model] = []

    @property
    def run_id(self) -> str | None:
        """The run's id in the tracker, as far as it is known."""
        return (self._run.id if self._run else self._remembered().get("run_id")) or None

    @property
    def failed(self) -> bool:
        """Whether the trial, as far as its journal goes, ended with an error."""
        last = next(latest(self._journal), None)
        return isinstance(last, Status) and last.status == "FAILED"

    @property
    def is_written(self) -> bool:
        """Whether somebody still trains the trial."""
        return is_written(self.trial.folder)

    def pump(self, parent: Run, expired: Callable[[], bool]) -> None:
        """Send what is new, until `expired`. Raises what the tracker raises; the next call goes on."""
        reader = self._reader or self._open(parent)
        if reader is None:
            return
        # What is written meanwhile is left to the next call: a busy writer must not keep back other trials.
        end = self._journal.stat().st_size
        while self._offset < end and not expired():
            self._pending = self._pending or reader.next_batch()
            if self._pending is None:
                break
            self._send(self._pending)
            self._offset, self._pending = self._pending.end, None
            self._remember()
            if reader.damaged:
                self._tell(f"{self._journal}: damaged lines were left out")
        self._send_files(expired)

    def interrupt(self, error: str, *, failed: bool) -> None:
        """End a run that nobody trains any more and that has not said how it ended: FAILED, if it grew under this
        stream and the command `failed`, else KILLED. A resumed training sets it running again."""
        if self._run is None or self._run.ended or self.is_written:
            return
        failed = failed and self._journal.stat().st_size > self._size_at_first
        why = error or "interrupted: the command that trained it is gone"
        self._tracker.finish(self._run, "FAILED" if failed else "KILLED", error=why)
        self._run = Run(self._run.id, ended=True)
        self._remember()

    def unsent(self) -> bool:
        """Return whether the tracker lacks something: a line, an artifact, or the end of a run that nobody trains."""
        if not self._journal.exists():
            return False
        memory = self._remembered()
        if memory.get("files") or (memory.get("open", True) and not self.is_written):
            return True
        with self._journal.open("rb") as file:
            file.seek(memory.get("offset", 0))
            return file.readline().endswith(b"\n")

    def _open(self, parent: Run) -> JournalReader | None:
        head = journal_head(self._journal)
        if head is None:
            return None
        keys = {"amc.identity": self.trial.identity, "amc.journal": head.id}
        request = RunRequest(self.trial.name, keys, self.trial.tags, parent, head.time_ms)
        run = open_alone(self._tracker, request, self.trial.folder / _LOCK)
        memory = self._remembered()
        if memory.get("run_id") == run.id:
            self._offset, self._files = memory["offset"], [_file(fields) for fields in memory["files"]]
        else:
            self._refusable("parameters", lambda: self._tracker.log_params(run, self.trial.params))
            self._refusable("data", lambda: self._tracker.log_inputs(run, self.trial.inputs))
            self._files = [Artifact(_SPEC, "")] if (self.trial.folder / _SPEC).exists() else []
        self._run = run
        self._reader = JournalReader(self._journal, self._offset)
        self._remember()
        return self._reader

    def _send(self, batch: Batch) -> None:
        run = self._run
        assert run is not None, "a run is opened first"
        if run.ended and (batch.points or batch.event):
            self._tracker.reopen(run)
            run = self._run = Run(run.id)
        match batch.event:
            case None:
                self._send_points(run, batch.points)
            case Params(values):
                self._refusable("parameters", lambda: self._tracker.log_params(run, values))
            case Tags(values):
                self._refusable("tags", lambda: self._tracker.set_tags(run, values))
            case Artifact() | Model() as file:
                self._files.append(file)
            case Status(status, time_ms, error):
                self._tracker.finish(run, status, time_ms, error)
                self._run = Run(run.id, ended=True)

    def _send_points(self, run: Run, points: Sequence[Point]) -> None:
        """Send points; where some are refused, halve the batch until it is known which."""
        if not points:
            return
        try:
            self._tracker.log_metrics(run, points)
            self.sent += Sent(points=len(points))
        except RefusedError as refusal:
            if len(points) == 1:
                self._tell(f"{self.trial.name}: metric {points[0].key} was refused ({refusal})")
                return
            middle = len(points) // 2
            self._send_points(run, points[:middle])
            self._send_points(run, points[middle:])

    def _send_files(self, expired: Callable[[], bool]) -> None:
        run = self._run
        assert run is not None, "a run is opened first"
        while self._files and not expired():
            file = self._files[0]
            path = self.trial.folder / file.path
            if not path.exists():
                self._tell(f"{path}: was gone before it could be sent")
            elif isinstance(file, Model):
                self._refusable(file.path, partial(self._tracker.log_model, run, path, file))
                self.sent += Sent(models=1)
            else:
                self._refusable(file.path, partial(self._tracker.log_artifact, run, path, file.to))
                self.sent += Sent(artifacts=1)
            self._files.pop(0)
            self._remember()

    def _refusable(self, what: str, send: Callable[[], None]) -> None:
        try:
            send()
        except RefusedError as refusal:
            self._tell(f"{self.trial.name}: {what}: refused ({refusal})")

    def _remembered(self) -> dict[str, Any]:
        try:
            memory = json.loads((self.trial.folder / _MEMORY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return memory if isinstance(memory, dict) and memory.keys() >= _MEMORY_FIELDS else {}

    def _remember(self) -> None:
        if self._run is not None and self._run.id:
            memory = {
                "run_id": self._run.id,
                "offset": self._offset,
                "files": [asdict(file) for file in self._files],
                "open": not self._run.ended,
            }
            write_json(self.trial.folder / _MEMORY, memory)


def open_alone(tracker: Tracker, request: RunRequest, lock_file: Path) -> Run:
    """Find or make a run; of two commands that want the same one, the second finds what the first made."""
    lock = Lock(lock_file)
    if not lock.take(_LONGEST_OPENING_S):
        raise TimeoutError(f"another command has been opening {request.name} for {_LONGEST_OPENING_S:.0f} s")
    try:
        return tracker.open_run(request)
    finally:
        lock.release()


def _file(fields: dict[str, Any]) -> Artifact | Model:
    return Artifact(**fields) if "to" in fields else Model(**fields)
