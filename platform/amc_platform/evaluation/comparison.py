"""Whether one row is better than another on the same phrases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from amc_models.errors import InputError
from amc_platform.evaluation.groups import GroupsOf, basic_groups
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.scored_phrases import ScoredPhrases
from amc_platform.evaluation.statistics import bootstrap, mcnemar, paired_test


@dataclass(frozen=True, slots=True)
class Comparison:
    """`first` and `second` are accuracies in per cent, `difference` = first - second in points.

    `low` and `high` bound the difference (95 %, bootstrap over images and seeds). `p` is that of the paired test over
    images and seeds. `mcnemar` is McNemar's exact p, which takes phrases of one image for independent cases, and None
    where either side has several seeds, for which that test is not made.
    """

    phrases: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    mcnemar: float | None


def compare(
    first: Sequence[Sequence[Hit]],
    second: Sequence[Sequence[Hit]],
    groups_of: GroupsOf = basic_groups,
    *,
    draws: int = 2000,
) -> dict[str, Comparison]:
    """Compare two rows by group, `all` first and the others by name. Each row is a list over seeds of its hits.

    Raises InputError where the phrases or the numbers of seeds do not match.
    """
    phrases = ScoredPhrases(first[0], groups_of)
    a, b = (np.stack([phrases.outcomes(hits) for hits in row]) for row in (first, second))
    return compare_outcomes(phrases, a, b, draws=draws)


def compare_outcomes(
    phrases: ScoredPhrases,
    first: Bool[np.ndarray, "seeds phrases"],
    second: Bool[np.ndarray, "other_seeds phrases"],
    *,
    draws: int = 2000,
) -> dict[str, Comparison]:
    """The same of rows whose hits are in the order of `phrases`.

    A row with one seed (a base that is not trained) is set beside every seed of the other; otherwise seeds
    are paired in order. Raises InputError where their numbers do not match.
    """
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise InputError(f"compare: {len(first)} seeds against {len(second)}; give both rows the same seeds")
    if not len(phrases):
        return {}
    differences = first.astype(np.float64) - second
    sums = phrases.by_image(differences)
    intervals = bootstrap(sums, phrases.counts, draws=draws)
    paired = len(first) == len(second) == 1
    result = {
        name: Comparison(
            phrases=int(mask.sum()),
            first=100 * float(first[:, mask].mean()),
            second=100 * float(second[:, mask].mean()),
            difference=100 * float(differences[:, mask].mean()),
            low=100 * float(low),
            high=100 * float(high),
            p=float(p),
            mcnemar=mcnemar(first[0, mask], second[0, mask]) if paired else None,
        )
        for name, mask, (low, high), p in zip(
            phrases.groups, phrases.member.T, intervals, paired_test(sums), strict=True
        )
    }
    return {"all": result["all"], **result}
