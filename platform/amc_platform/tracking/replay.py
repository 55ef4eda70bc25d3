"""Sending what an outage, or a command that was killed, left on disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from amc_platform.tracking.follower import Clock, JournalFollower
from amc_platform.tracking.opening import open_tracker
from amc_platform.tracking.outbox import FOLDER, OUTBOX, Outbox
from amc_platform.tracking.stream import Sent, TrialStream
from amc_platform.tracking.tracker import NoTracker


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of an experiment: how much was sent where, and what could not be, in plain lines."""

    experiment: str
    destination: str
    runs: int
    sent: Sent
    warnings: tuple[str, ...] = ()


def outboxes(output: Path) -> list[Outbox]:
    """What the commands that wrote to `output` wanted recorded, the oldest first."""
    paths = sorted((output / FOLDER).glob(f"*/{OUTBOX}"), key=lambda path: path.stat().st_mtime)
    return [box for box in map(Outbox, paths) if box.parent is not None]


def replay(
    output: Path, timeout_s: float, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Replayed]:
    """Send everything under `output` that is not sent, trying for at most `timeout_s` an experiment.

    Nothing is sent twice, and an experiment of which nothing is left is not even asked about. One that a command is
    working at is left to it; `tell` says so.
    """
    for box in outboxes(output.absolute()):
        with box.alone() as alone:
            if not alone:
                tell(f"{_name(box)}: a command is at it, and sends by itself")
            elif (outcome := _replayed(box, timeout_s)) is not None:
                yield outcome


def unsent_trials(box: Outbox) -> list[str]:
    """Identities of the trials of which the tracker lacks something; none where nothing is recorded at all."""
    assert box.destination is not None
    if box.destination.kind == "none":
        return []
    return [
        trial.identity
        for trial in box.trials.values()
        if TrialStream(trial, NoTracker(), lambda _: None).unsent()
    ]


def _replayed(box: Outbox, timeout_s: float) -> Replayed | None:
    left, was = unsent_trials(box), box.destination
    assert was is not None
    if was.kind == "none" or not (left or box.artifacts or not box.ended):
        return None
    tracker = open_tracker(was.kind, was.uri, was.experiment, box.output)
    status, error = box.closed or ("KILLED", "interrupted: the command is gone")
    with JournalFollower(tracker, box, Clock(poll_s=0.2, longest_delay_s=5, close_s=timeout_s)) as follower:
        for identity in left:
            follower.follow(box.trials[identity])
        warnings = follower.close(status=status, error=error)
    return Replayed(_name(box), tracker.destination, len(left), follower.sent, tuple(warnings))


def _name(box: Outbox) -> str:
    assert box.parent is not None
    return box.parent.name
