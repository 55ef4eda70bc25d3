"""A search that looks at results: Tune proposes and stops, the ledger decides what is trained and what it scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

from amc_models.errors import InputError
from amc_platform.search.dispatch import Dispatcher
from amc_platform.search.exchange import Exchange, Said
from amc_platform.search.ledger import read_mirror
from amc_platform.search.plan import Plan, Row, proposed_row
from amc_platform.search.standing import Standing
from amc_platform.spec.factors import Values
from amc_platform.training.trial import TrialJob


@runtime_checkable
class Conductor(Protocol):
    """What decides which trials are wanted next."""

    @property
    def busy(self) -> bool:
        """Whether it may still want something."""
        ...

    def step(self) -> None:
        """Want what is to be wanted now; never waits."""
        ...

    def close(self) -> None:
        """End it where it is."""
        ...


class InOrder:
    """Without looking at results: everything is wanted from the start."""

    busy = False

    def __init__(self, jobs: Sequence[TrialJob], dispatcher: Dispatcher) -> None:
        for job in jobs:
            dispatcher.want(job)

    def step(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass
class _Open:
    """A row that a trial of Tune asked for and still listens to."""

    row: Row
    standings: list[Standing]
    said: int = 0
    values: dict[str, float] = field(default_factory=dict[str, float])
    """Last value of each job, by identity."""


class Tuned:
    """Conducts a search by Tune.

    A row with several seeds is told of once, at its end, by their mean. A row that was settled before is told of again,
    from its journal to its final value: Tune hears of it what it would have heard.
    """

    def __init__(self, plan: Plan, dispatcher: Dispatcher, proposed: Callable[[Row], None]) -> None:
        search = plan.experiment.search
        section = search.optuna or search.asha
        assert section is not None
        self._plan, self._dispatcher, self._proposed = plan, dispatcher, proposed
        self._metric = section.metric
        # With ASHA a row is one job: it is stopped by itself.
        self._rows = [Row(row.name, row.changes, (job,)) for row in plan.rows for job in row.jobs]
        self._open: dict[str, _Open] = {}
        self._left: SimpleQueue[str] = SimpleQueue()
        self._exchange = Exchange(dispatcher.crew.home / "tune")
        crew = dispatcher.crew
        capacity = crew.capacity
        from amc_platform.search.tune import TuneThread

        points = plan.proposals.points if plan.proposals else []
        self._tune = TuneThread(
            plan.experiment, len(self._rows), points, self._exchange, capacity, self._left.put
        )

    @property
    def busy(self) -> bool:
        """Whether Tune is still at it."""
        return self._tune.alive or bool(self._open)

    def step(self) -> None:
        """Take what Tune asks and drop what it left; tell it how its rows validate.

        Raises InputError where validations lack the metric, or whatever ended Tune.
        """
        for trial, config in self._exchange.asked().items():
            self._begin(trial, config)
        for trial in list(self._open):
            self._tell(trial, self._open[trial])
        while True:
            try:
                self._leave(self._left.get_nowait())
            except Empty:
                break
        if self._tune.error is not None:
            raise self._tune.error

    def close(self) -> None:
        """End it where it is."""
        self._tune.close()

    def _begin(self, trial: str, config: dict[str, Any]) -> None:
        row = self._row(config)
        self._open[trial] = _Open(row, [Standing(job) for job in row.jobs])
        for job in row.jobs:
            self._dispatcher.want(job)

    def _row(self, config: dict[str, Any]) -> Row:
        optuna, proposals = self._plan.experiment.search.optuna, self._plan.proposals
        if optuna is None or proposals is None:
            return self._rows[config["row"]]
        point: Values = {path: config[path] for path in optuna.space}
        if point not in proposals.points:
            proposals.add(point)
        row = proposed_row(self._plan, point)
        self._proposed(row)
        return row

    def _tell(self, trial: str, opened: _Open) -> None:
        """Tell of new validations, then of the end."""
        ended = [self._dispatcher.ended.get(standing.job.identity) for standing in opened.standings]
        single = len(opened.standings) == 1
        for standing in opened.standings:
            for point in standing.read():
                if point.key == self._metric:
                    opened.values[standing.job.identity] = point.value
                    if single:
                        self._say(trial, opened, Said(point.value, point.step))
        if None in ended:
            return
        failed = "failed" in ended or "partial" in ended
        if not failed:
            self._recall(opened)
            self._check(opened)
        value = fmean(opened.values.values()) if opened.values else None
        steps = max(standing.steps for standing in opened.standings)
        self._say(trial, opened, Said(value, steps, "failed" if failed else "done"))
        del self._open[trial]

    def _say(self, trial: str, opened: _Open, said: Said) -> None:
        self._exchange.say(trial, opened.said, said)
        opened.said += 1

    def _recall(self, opened: _Open) -> None:
        """Take the value of a trial whose journal lies elsewhere from its record."""
        for standing in opened.standings:
            mirror = read_mirror(standing.job.folder)
            if mirror and self._metric in mirror.metrics:
                opened.values.setdefault(standing.job.identity, mirror.metrics[self._metric])

    def _check(self, opened: _Open) -> None:
        for standing in opened.standings:
            if standing.job.identity not in opened.values:
                split = self._metric.split("/")[0]
                there = [name for name in standing.latest if name.startswith(f"{split}/")]
                raise InputError(
                    f"search: metric {self._metric} is not among the validations of {standing.job.label}; "
                    f"choose from {', '.join(there) or 'none, since it was never validated'}"
                )

    def _leave(self, trial: str) -> None:
        """Tune is through with `trial`: unless it trains its last steps anyway, it is to end."""
        opened = self._open.pop(trial, None)
        if opened is None:
            return
        for standing in opened.standings:
            if standing.steps < standing.job.experiment.training.steps:
                self._dispatcher.stop(standing.job)
