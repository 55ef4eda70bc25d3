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


def paired_test(sums: Float[np.ndarray, "seeds images groups"]) -> Float[np.ndarray, " groups"]:
    """Two-sided p, by group, that the differences of two rows are zero on average over other images and other seeds.

    `sums` are first - second, in hits, by image. As in McNemar's test, the variance over images is that under the null
    hypothesis, and only images on which the rows differ count; an image brings all of its phrases at once (after
    Durkalski et al. 2003). To it comes the variance of the mean over seeds, if there are several, and Student's t has
    the degrees of freedom of the sum (Satterthwaite). What varies with both image and seed counts in both variances, so
    that p is too large rather than too small. A single seed says nothing of other trainings.
    """
    from scipy.special import stdtr

    seeds = len(sums)
    of_images = sums.mean(axis=0)
    over_images = (of_images**2).sum(axis=0)
    over_seeds = sums.sum(axis=1).var(axis=0, ddof=1) / seeds if seeds > 1 else np.zeros_like(over_images)
    images = (of_images != 0).sum(axis=0)
    # With a single image to go by nothing can be said.
    testable = images > 1
    variance = np.where(testable, over_images + over_seeds, 1.0)
    freedom = variance**2 / np.where(
        testable, over_images**2 / np.maximum(images - 1, 1) + over_seeds**2 / max(seeds - 1, 1), 1.0
    )
    p = 2 * stdtr(freedom, -np.abs(of_images.sum(axis=0)) / np.sqrt(variance))
    return np.where(testable, p, 1.0)


def holm(ps: Sequence[float]) -> list[float]:
    """Each p of several tests, adjusted so that one below 0.05 is wrong in at most 5 % of such tables (Holm 1979)."""
    adjusted = [1.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted


def mcnemar(
    hits_a: Sequence[bool] | Bool[np.ndarray, " phrases"],
    hits_b: Sequence[bool] | Bool[np.ndarray, " phrases"],
) -> float:
    """Exact two-sided p of McNemar's test: do two rows, scored on the same phrases in the same order, differ?

    Only phrases that exactly one row hits count; without any, p is 1.
    """
    # Not `scipy.stats`, which takes a second to import.
    from scipy.special import bdtr

    a, b = np.asarray(hits_a, dtype=bool), np.asarray(hits_b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"both rows must be scored on the same phrases: {a.shape} against {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    # Twice the lower tail of a fair coin, which has two equal ones.
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
