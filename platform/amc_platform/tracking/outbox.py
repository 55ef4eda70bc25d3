"""What a command wants recorded, on disk before any of it is sent: enough to send it without the command."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.tracking.events import Ending
from amc_platform.tracking.names import check_name
from amc_platform.tracking.stream import TrialRun
from amc_platform.tracking.tracker import DataInput

FOLDER, OUTBOX = "tracking", "outbox.jsonl"
"""The folder inside the output folder, and the file in it, one an experiment."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where runs go, in the words of the spec (see `open_tracker`)."""

    kind: str
    uri: str | None
    experiment: str


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


class Outbox:
    """`<output>/tracking/<hash of the spec>/outbox.jsonl`, one line for everything that is announced.

    Commands that run at the same time may share it. What was sent of the trials stands in their own folders; here
    stand the experiment's run, its artifacts and how it ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.output = path.parents[2]
        self.destination: Destination | None = None
        self.parent: ParentRun | None = None
        self.trials: dict[str, TrialRun] = {}
        self.artifacts: dict[tuple[str, str], None] = {}
        """(path, folder) of what is announced and not sent."""
        self.closed: tuple[Ending, str] | None = None
        """How the last command ended, and the error that ended it; None where it never said so."""
        self.ended = False
        """Whether the tracker has taken that."""
        for line in self._lines():
            self._take(line)

    @classmethod
    @contextmanager
    def opened(cls, output: Path, destination: Destination, parent: ParentRun) -> Iterator[Self]:
        """The outbox of an experiment, held open for writing: `replay` leaves it alone meanwhile."""
        path = output / FOLDER / parent.spec_hash / OUTBOX
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); choose another output"
            ) from error
        with file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            box = cls(path)
            box._say("experiment", destination=asdict(destination), parent=asdict(parent))
            write_text(path.with_name("spec.yaml"), parent.spec_text)
            box.artifact(path.with_name("spec.yaml"), "")
            yield box

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no command holds it open; while that is so, none is told so either."""
        with self.path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass
            yield True

    def follow(self, trial: TrialRun) -> None:
        """Announce a trial; a known identity is not taken twice."""
        if trial.identity not in self.trials:
            self._say("trial", **(asdict(trial) | {"folder": self._shown(trial.folder)}))

    def artifact(self, path: Path, to: str) -> None:
        """Announce an artifact of the experiment's run."""
        self._say("artifact", path=self._shown(path), to=to)

    def sent(self, path: str, to: str) -> None:
        """Say that an artifact was sent, or never will be."""
        self._say("sent", path=path, to=to)

    def close(self, status: Ending, error: str) -> None:
        """Say how the command ended."""
        self._say("closed", status=status, error=error)

    def end(self) -> None:
        """Say that the tracker has taken that."""
        self._say("ended")

    def _shown(self, path: Path) -> str:
        """`path` relative to the output folder where it lies inside, so that the folder may be moved."""
        return str(path.relative_to(self.output)) if path.is_relative_to(self.output) else str(path)

    def _say(self, kind: str, **fields: Any) -> None:
        line = {"type": kind, **fields}
        self._take(line)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            # One write, so that the lines of two commands do not mix; a torn last line is made one of its own.
            torn = b"" if self._ends_whole() else b"\n"
            os.write(file, torn + json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); free some space") from error
        finally:
            os.close(file)

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_bytes().splitlines():
            with suppress(ValueError):  # torn by a crash
                yield json.loads(line)

    def _take(self, line: dict[str, Any]) -> None:
        fields = {key: value for key, value in line.items() if key != "type"}
        match line["type"]:
            case "experiment":
                self.destination = Destination(**fields["destination"])
                self.parent = ParentRun(**fields["parent"])
                self.closed, self.ended = None, False
            case "trial":
                fields["folder"] = self.output / fields["folder"]
                fields["inputs"] = tuple(DataInput(**data) for data in fields["inputs"])
                self.trials.setdefault(fields["identity"], TrialRun(**fields))
            case "artifact":
                self.artifacts[fields["path"], fields["to"]] = None
            case "sent":
                self.artifacts.pop((fields["path"], fields["to"]), None)
            case "closed":
                self.closed, self.ended = (fields["status"], fields["error"]), False
            case "ended":
                self.ended = True
            case _:
                pass
