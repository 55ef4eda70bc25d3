"""One trial's way from its journal to a tracker."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from amc_platform.files import write_json
from amc_platform.tracking.events import Artifact, Params, Point, Status, Tags
from amc_platform.tracking.journal import JOURNAL
from amc_platform.tracking.names import check_name
from amc_platform.tracking.reader import Batch, JournalReader, journal_head
from amc_platform.tracking.tracker import RefusedError, Run, RunRequest, Tracker

_MEMORY = "tracked.json"
_MEMORY_FIELDS = {"run_id", "offset", "artifacts"}
_SPEC = "spec.yaml"


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A trial to be tracked: its folder (journal.jsonl appears there, spec.yaml may), its name and identity.

    `params` and `tags` are recorded when the run is made. Raises InputError for a name no tracker takes.
    """

    folder: Path
    name: str
    identity: str
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for what, names in (("parameter", self.params), ("tag", self.tags)):
            for name in names:
                check_name(name, what)


class TrialStream:
    """Sends a journal in order, and remembers in `<trial folder>/tracked.json` how far it came.

    A batch is remembered after it was taken: after a crash between the two it is sent again, which changes
    nothing (see Tracker). The run is tied to the journal: started over, a trial gets a new run; and where the
    store has lost the run, or is another one, everything is sent from the beginning. Artifacts go last, and
    those that cannot be sent hold up nothing else.
    """

    def __init__(self, trial: TrialRun, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self.trial = trial
        self.failed = False
        self._tracker = tracker
        self._tell = tell
        self._journal = trial.folder / JOURNAL
        self._run: Run | None = None
        self._reader: JournalReader | None = None
        self._pending: Batch | None = None
        self._offset = 0
        self._artifacts: list[list[str]] = []

    @property
    def run_id(self) -> str | None:
        """The run's id in the tracker, as far as it is known."""
        return (self._run.id if self._run else self._remembered().get("run_id")) or None

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
        self._send_artifacts(expired)

    def interrupt(self) -> None:
        """Set a run that has not ended to KILLED; a resumed training sets it running again."""
        if self._run is not None and not self._run.ended:
            self._tracker.finish(self._run, "KILLED")
            self._run = Run(self._run.id, ended=True)

    def unsent(self) -> bool:
        """Return whether the journal holds a line or an artifact that the tracker has not taken."""
        if not self._journal.exists():
            return False
        memory = self._remembered()
        with self._journal.open("rb") as file:
            file.seek(memory.get("offset", 0))
            return bool(memory.get("artifacts")) or file.readline().endswith(b"\n")

    def _open(self, parent: Run) -> JournalReader | None:
        head = journal_head(self._journal)
        if head is None:
            return None
        keys = {"amc.identity": self.trial.identity, "amc.journal": head.id}
        run = self._tracker.open_run(RunRequest(self.trial.name, keys, self.trial.tags, parent, head.time_ms))
        memory = self._remembered()
        known = memory.get("run_id") == run.id
        if known:
            self._offset, self._artifacts = memory["offset"], memory["artifacts"]
        else:
            self._refusable("parameters", lambda: self._tracker.log_params(run, self.trial.params))
            self._artifacts = [[_SPEC, ""]] if (self.trial.folder / _SPEC).exists() else []
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
            case Artifact(path, to):
                self._artifacts.append([path, to])
            case Status(status, time_ms):
                self._tracker.finish(run, status, time_ms)
                self.failed = status == "FAILED"
                self._run = Run(run.id, ended=True)

    def _send_points(self, run: Run, points: Sequence[Point]) -> None:
        """Send points; where some are refused, halve the batch until it is known which."""
        if not points:
            return
        try:
            self._tracker.log_metrics(run, points)
        except RefusedError as refusal:
            if len(points) == 1:
                self._tell(f"{self.trial.name}: metric {points[0].key} was refused ({refusal})")
                return
            middle = len(points) // 2
            self._send_points(run, points[:middle])
            self._send_points(run, points[middle:])

    def _send_artifacts(self, expired: Callable[[], bool]) -> None:
        run = self._run
        assert run is not None, "a run is opened first"
        while self._artifacts and not expired():
            name, to = self._artifacts[0]
            path = self.trial.folder / name
            if path.exists():
                self._refusable(name, partial(self._tracker.log_artifact, run, path, to))
            else:
                self._tell(f"{path}: was gone before it could be sent")
            self._artifacts.pop(0)
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
            memory = {"run_id": self._run.id, "offset": self._offset, "artifacts": self._artifacts}
            write_json(self.trial.folder / _MEMORY, memory)
