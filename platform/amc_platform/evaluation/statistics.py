"""How sure a number is: intervals of an accuracy, and whether two rows differ."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

Z_95 = 1.959963984540054


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval, as fractions, of a share of `hits` in `total` independent phrases (Wilson 1927).

    Closed form, and sane at 0 and 1, where the normal approximation has no width. An empty total is (0, 1).
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = hits / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    margin = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return (0.0 if hits == 0 else centre - margin), (1.0 if hits == total else centre + margin)


def bootstrap(
    values: Float[np.ndarray, "seeds phrases"], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the mean, with seeds and phrases both drawn anew, with replacement.

    `values` are hits (0 or 1) or differences of hits (-1, 0, 1): a row a seed, the same phrases in each row.
    With very few seeds the spread between seeds is underestimated; no resampling can know better.
    """
    seeds, phrases = values.shape
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        rows = values[random.integers(seeds, size=seeds)].mean(0)
        means[draw] = rows[random.integers(phrases, size=phrases)].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mcnemar(
    hits_a: Sequence[bool] | Bool[np.ndarray, " phrases"],
    hits_b: Sequence[bool] | Bool[np.ndarray, " phrases"],
) -> float:
    """Exact two-sided p of McNemar's test: do two rows, scored on the same phrases in the same order, differ?

    Only phrases that exactly one row hits count; without any, p is 1.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(hits_a, dtype=bool), np.asarray(hits_b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"both rows must be scored on the same phrases: {a.shape} against {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)
