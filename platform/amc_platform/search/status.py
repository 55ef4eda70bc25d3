"""What runs and how far it is, as the folders of the trials tell it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amc_platform.search.plan import Plan
from amc_platform.tracking.events import Metrics, Status
from amc_platform.tracking.journal import JOURNAL, is_written
from amc_platform.tracking.reader import latest
from amc_platform.tracking.replay import outboxes, unsent_trials
from amc_platform.training.trial import TrialStatus

State = Literal["new", "running", "interrupted", "stopped", "failed", "done"]


_STATES: dict[str, State] = {"finished": "done", "failed": "failed", "stopped": "stopped"}


@dataclass(frozen=True, slots=True)
class TrialState:
    """How far one trial is."""

    experiment: str
    trial: str
    identity: str
    state: State
    step: int
    """Of the last record."""
    steps: int
    """Of the whole training."""
    pointing: float | None
    """The last accuracy of all phrases among the last records, in per cent."""
    seen_s: float | None
    """Seconds since something was recorded."""
    error: str
    unsent: bool
    """Whether the tracker lacks something of it."""


def states(output: Path) -> list[TrialState]:
    """Every trial of every command that wrote to `output`; one that several experiments share is told of once."""
    found: dict[str, TrialState] = {}
    for box in outboxes(output.absolute()):
        assert box.parent is not None
        unsent = set(unsent_trials(box))
        for trial in box.trials.values():
            steps = int(trial.params.get("training.steps", 0))
            found[trial.identity] = _state(
                box.parent.name, trial.name, trial.identity, trial.folder, steps, trial.identity in unsent
            )
    return list(found.values())


def states_of(plan: Plan) -> list[TrialState]:
    """Every trial of a plan, those that nobody has begun included."""
    known = {state.identity: state for state in states(plan.experiment.output)}
    return [
        known.get(job.identity)
        or _state(
            plan.experiment.name, job.label, job.identity, job.folder, job.experiment.training.steps, False
        )
        for job in plan.jobs
    ]


def summary(states: Sequence[TrialState]) -> dict[str, dict[str, int]]:
    """{experiment: {state: trials}}."""
    counts: dict[str, dict[str, int]] = {}
    for state in states:
        of = counts.setdefault(state.experiment, {})
        of[state.state] = of.get(state.state, 0) + 1
    return counts


def _state(experiment: str, trial: str, identity: str, folder: Path, steps: int, unsent: bool) -> TrialState:
    journal = folder / JOURNAL
    ending: Status | None = None
    step, pointing = None, None
    for event in latest(journal):
        if isinstance(event, Status) and step is None and ending is None:
            ending = event
        elif isinstance(event, Metrics):
            step = event.points[0].step if step is None and event.points else step
            pointing = next((point.value for point in event.points if point.key.endswith("/pointing")), None)
        if step is not None and pointing is not None:
            break
    return TrialState(
        experiment,
        trial,
        identity,
        _name(folder),
        step or 0,
        steps,
        pointing,
        time.time() - journal.stat().st_mtime if journal.exists() else None,
        ending.error if ending else "",
        unsent,
    )


def _name(folder: Path) -> State:
    if is_written(folder):
        return "running"
    if (folder / "adopted.json").is_file():
        return "done"
    if not (folder / "status.json").is_file():
        return "new"
    said = TrialStatus.read(folder).state
    # Said to be running, and nobody writes: the command that trained it was killed.
    return _STATES.get(said, "interrupted")
