"""Whether a plan that was disturbed came to the same end as one that was not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amc_platform.search.plan import Plan
from amc_platform.tracking.audit import count_runs
from amc_platform.tracking.events import Metrics, decode
from amc_platform.tracking.journal import JOURNAL
from amc_platform.training.trial import TrialJob

_MEASURED = ("train/loss", "val/", "test/")
"""Beginnings of the metrics that follow from the spec; the others are times and speeds."""


@dataclass(frozen=True)
class Sameness:
    """What was found; `same` only where nothing differs."""

    trials: int
    weights: float
    """Largest absolute difference of a final weight."""
    points: int
    """Values of losses and accuracies that were compared."""
    differing: int
    """Those that differ from the undisturbed run, or from one writing to the next."""
    hits: int
    """Phrases whose hits were compared."""
    differing_hits: int
    runs: int
    """Runs in MLflow; one a trial is right."""
    doubled: int
    """Points that MLflow holds twice."""

    @property
    def same(self) -> bool:
        """Whether the disturbance left no trace."""
        return (
            self.weights == 0
            and self.points > 0
            and self.differing == self.differing_hits == self.doubled == 0
            and self.runs == self.trials
        )

    def __str__(self) -> str:
        """In one line."""
        return (
            f"largest difference of a weight {self.weights:g}, {self.differing} of {self.points} values and "
            f"{self.differing_hits} of {self.hits} hits differ, {self.runs} MLflow runs for {self.trials} trials, "
            f"{self.doubled} points doubled"
        )


def compare(undisturbed: Plan, disturbed: Plan) -> Sameness:
    """Compare two finished plans of the same trials, each with an MLflow database in its own output folder."""
    pairs = list(zip(undisturbed.jobs, disturbed.jobs, strict=True))
    values = [(_values(one.folder), _values(other.folder)) for one, other in pairs]
    hits = [pair for jobs in pairs for pair in _hits(*jobs)]
    output = disturbed.experiment.output
    runs = count_runs(f"sqlite:///{output}/mlflow.db", f"amc/{disturbed.experiment.name}")
    return Sameness(
        trials=len(pairs),
        weights=max((_weight_difference(one, other) for one, other in pairs), default=0.0),
        points=sum(len(one) for one, _ in values),
        differing=sum(one.get(key) != other.get(key) for one, other in values for key in one | other),
        hits=len(hits),
        differing_hits=sum(one != other for one, other in hits),
        runs=len(runs),
        doubled=sum(run.doubled for run in runs),
    )


def _values(folder: Path) -> dict[tuple[str, int], frozenset[float]]:
    """The values of every measured (key, step) of a journal: more than one where its writings differ."""
    values: dict[tuple[str, int], frozenset[float]] = {}
    with (folder / JOURNAL).open("rb") as lines:
        for line in lines:
            event = decode(line)
            for point in event.points if isinstance(event, Metrics) else ():
                if point.key.startswith(_MEASURED):
                    place = (point.key, point.step)
                    values[place] = values.get(place, frozenset()) | {point.value}
    return values


def _weight_difference(one: TrialJob, other: TrialJob) -> float:
    from safetensors.torch import load_file

    ours, theirs = (load_file(job.model / "model.safetensors") for job in (one, other))
    assert ours.keys() == theirs.keys(), "trials of one identity have one network"
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def _hits(one: TrialJob, other: TrialJob) -> Iterator[tuple[object, object]]:
    from amc_platform.evaluation.hits import read_hits

    for split in one.experiment.evaluation.splits:
        ours, theirs = (read_hits(job.evaluation(split) / "hits.parquet") for job in (one, other))
        yield from zip(ours, theirs, strict=True)
