"""How well a row of a table points, over all of its seeds."""

from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from jaxtyping import Bool

from amc_platform.evaluation.scored_phrases import ScoredPhrases
from amc_platform.evaluation.statistics import bootstrap


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy over a group of phrases, in per cent.

    `low` to `high` is the 95 % interval: bootstrap over images and, where there are several, over seeds.
    """

    percents: tuple[float, ...]
    """Of each seed."""
    phrases: int
    """How many phrases each seed was scored on."""
    low: float
    high: float

    @property
    def percent(self) -> float:
        """Mean over seeds."""
        return fmean(self.percents)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (n - 1); None of a single one."""
        return stdev(self.percents) if len(self.percents) > 1 else None


def score_table(phrases: ScoredPhrases, row: Bool[np.ndarray, "seeds phrases"]) -> dict[str, Score]:
    """The row's score by group, sorted by name."""
    if not len(phrases):
        return {}
    sums = phrases.by_image(row)
    intervals = 100 * bootstrap(sums, phrases.counts)
    totals = phrases.counts.sum(axis=0)
    percents = 100 * sums.sum(axis=1) / totals
    return {
        name: Score(tuple(map(float, of_seeds)), int(total), float(low), float(high))
        for name, of_seeds, total, (low, high) in zip(
            phrases.groups, percents.T, totals, intervals, strict=True
        )
    }
