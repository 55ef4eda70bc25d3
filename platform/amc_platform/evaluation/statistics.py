"""How sure a number is: intervals of an accuracy, and whether two rows differ."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def bootstrap(
    sums: Float[np.ndarray, "seeds images groups"],
    counts: Float[np.ndarray, "images groups"],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Float[np.ndarray, "groups 2"]:
    """95 % percentile intervals of sums over counts, with images and seeds drawn anew, with replacement.

    `sums` are hits, or differences of hits, and `counts` phrases, by image and group of phrases. An image brings all of
    its phrases, which are no independent cases: they look at one picture. Where all images are alike an interval has
    no width, and with very few seeds their spread is underestimated; no resampling can know better.
    """
    seeds, images, groups = sums.shape
    random = np.random.default_rng(seed)
    means = np.empty((draws, groups))
    for draw in range(draws):
        times = np.bincount(random.integers(images, size=images), minlength=images).astype(np.float64)
        total = (times @ sums)[random.integers(seeds, size=seeds)].mean(axis=0)
        number = times @ counts
        # A group of few images may be missing from a draw, which then says nothing of it.
        means[draw] = np.divide(total, number, out=np.full(groups, np.nan), where=number > 0)
    return np.nanquantile(means, [0.025, 0.975], axis=0).T


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
