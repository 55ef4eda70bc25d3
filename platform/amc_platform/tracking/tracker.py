"""What a tracker is: the few verbs by which a run is recorded somewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from amc_platform.tracking.events import Ending, Model, Point


class RefusedError(Exception):
    """The tracker was reached and will never take this; trying again is of no use."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the tracker knows it: its id ("" where nothing is recorded) and whether it stands ended."""

    id: str
    ended: bool = False


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to be found again by its `keys` (tags that no other run shares), or else made."""

    name: str
    keys: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: Run | None = None
    start_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DataInput:
    """Data that a run uses: `digest` is the hash of its content, `context` what it is used for (`training`)."""

    name: str
    digest: str
    source: str
    context: str


@runtime_checkable
class Tracker(Protocol):
    """Every verb may be repeated with the same arguments without doubling anything.

    A verb raises RefusedError for what can never be taken, any other exception for what may be tried again.
    Only the thread of a follower calls them, so that none needs to be quick.
    """

    destination: str
    """Where the runs go, in words for the user, without credentials."""

    def prepare(self) -> None:
        """Do what must happen on the main thread: imports. No network."""
        ...

    def open_run(self, request: RunRequest) -> Run:
        """Find or make the run."""
        ...

    def reopen(self, run: Run) -> None:
        """Set an ended run running again, and forget its error."""
        ...

    def log_metrics(self, run: Run, points: Sequence[Point]) -> None:
        """Record points."""
        ...

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Record parameters that the run does not have yet; those it has stay."""
        ...

    def set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        """Set tags."""
        ...

    def log_artifact(self, run: Run, path: Path, to: str) -> None:
        """Copy a file, or what a folder holds, into the run's folder `to`."""
        ...

    def log_inputs(self, run: Run, inputs: Sequence[DataInput]) -> None:
        """Record the data that the run uses."""
        ...

    def log_model(self, run: Run, folder: Path, model: Model) -> None:
        """Register the checkpoint in `folder` as a version of `model.name`, and set the aliases anew."""
        ...

    def finish(self, run: Run, status: Ending, end_ms: int | None = None, error: str = "") -> None:
        """Set how and when the run ended (None: now), and the error that ended it."""
        ...


class NoTracker:
    """Records nothing; the journals stay, and can be sent by a later command."""

    destination = "nowhere"

    def prepare(self) -> None:
        """Nothing."""

    def open_run(self, request: RunRequest) -> Run:
        """Return a run without an id."""
        return Run("")

    def reopen(self, run: Run) -> None:
        """Nothing."""

    def log_metrics(self, run: Run, points: Sequence[Point]) -> None:
        """Nothing."""

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Nothing."""

    def set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        """Nothing."""

    def log_artifact(self, run: Run, path: Path, to: str) -> None:
        """Nothing."""

    def log_inputs(self, run: Run, inputs: Sequence[DataInput]) -> None:
        """Nothing."""

    def log_model(self, run: Run, folder: Path, model: Model) -> None:
        """Nothing."""

    def finish(self, run: Run, status: Ending, end_ms: int | None = None, error: str = "") -> None:
        """Nothing."""
