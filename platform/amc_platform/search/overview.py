"""Where all trials of a command stand: for the table that people watch."""

from collections.abc import Sequence
from dataclasses import dataclass

from amc_platform.search.dispatch import Dispatcher
from amc_platform.search.plan import Plan, Row
from amc_platform.search.standing import Standing
from amc_platform.training.trial import TrialJob

_SPEED = "train/pairs_per_second"


@dataclass(frozen=True, slots=True)
class Line:
    """One trial."""

    label: str
    state: str
    steps: int
    of: int
    value: float | None
    """Last value of the metric that is watched."""
    speed: float | None
    """Pairs a second, while it runs."""


@dataclass(frozen=True, slots=True)
class Overview:
    """All trials, the best so far, and how long the rest takes."""

    lines: Sequence[Line]
    metric: str
    best: Line | None
    done: int
    """Trials that ended."""
    total: int
    """Trials there will be, as far as is known."""
    left_s: float | None
    """At the present speed; less where trials are stopped. None while no speed is known."""


class Watcher:
    """Makes overviews; reads only what journals have gained since the last one."""

    def __init__(self, plan: Plan, dispatcher: Dispatcher) -> None:
        self._plan, self._dispatcher = plan, dispatcher
        self._rows = list(plan.rows)
        self._standings: dict[str, Standing] = {}
        search, evaluation = plan.experiment.search, plan.experiment.evaluation
        section = search.optuna or search.asha
        self._low_is_good = section is not None and section.mode == "min"
        split = evaluation.splits[0] if evaluation.every is None else evaluation.validation_split
        self._metric = section.metric if section else f"{split}/…/pointing"

    def add(self, row: Row) -> None:
        """A row that was proposed since."""
        if all(row.jobs != known.jobs for known in self._rows):
            self._rows.append(row)

    def overview(self) -> Overview:
        """Where everything stands now."""
        jobs = {job.identity: job for row in self._rows for job in row.jobs}
        lines = [self._line(job) for job in jobs.values()]
        scored = [line for line in lines if line.value is not None]
        sign = -1 if self._low_is_good else 1
        best = max(scored, key=lambda line: sign * (line.value or 0.0), default=None)
        ended = sum(line.state in ("done", "stopped", "failed") for line in lines)
        to_come = self._plan.unproposed * max(1, len(self._plan.experiment.search.seeds))
        return Overview(lines, self._metric, best, ended, len(lines) + to_come, self._left(to_come))

    def _line(self, job: TrialJob) -> Line:
        standing = self._standings.setdefault(job.identity, Standing(job))
        standing.read()
        running = job.identity in self._dispatcher.running
        ended = self._dispatcher.ended.get(job.identity)
        state = "running" if running else ended or ("done" if self._plan.settled(job) else "waiting")
        speed = standing.latest.get(_SPEED) if running else None
        steps = job.experiment.training.steps
        return Line(job.label, state, standing.steps, steps, self._value(standing), speed)

    def _value(self, standing: Standing) -> float | None:
        first, _, last = self._metric.partition("/…/")
        for name, value in standing.latest.items():
            if name == self._metric or (last and name.startswith(f"{first}/") and name.endswith(f"/{last}")):
                return value
        return None

    def _left(self, unproposed: int) -> float | None:
        pairs, speed = 0.0, 0.0
        for identity, standing in self._standings.items():
            data, training = standing.job.experiment.data, standing.job.experiment.training
            each = data.images_per_batch * data.phrases_per_image
            if identity not in self._dispatcher.ended and not self._plan.settled(standing.job):
                pairs += each * max(0, training.steps - standing.steps)
            if identity in self._dispatcher.running:
                speed += standing.latest.get(_SPEED, 0.0)
        data, training = self._plan.experiment.data, self._plan.experiment.training
        pairs += unproposed * training.steps * data.images_per_batch * data.phrases_per_image
        return pairs / speed if speed else None
