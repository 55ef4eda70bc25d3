import numpy as np
import pytest

from amc_platform.evaluation.statistics import bootstrap, mcnemar, wilson


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # p = 1/2, n = 10: centre 1/2, margin 1.96 / (1 + 3.8415/10) * sqrt(0.025 + 3.8415/400) = 0.2634.
        (5, 10, 0.2366, 0.7634),
        # No hit of 10: the upper bound is z^2 / (n + z^2) = 3.8415 / 13.8415.
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_by_hand(hits: int, total: int, low: float, high: float) -> None:
    assert wilson(hits, total) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_of_what_does_not_vary() -> None:
    assert bootstrap(np.ones((3, 50))) == (1.0, 1.0)


def test_bootstrap_over_phrases_is_near_the_normal_interval() -> None:
    values = np.tile([0.0, 1.0], 200)[None]
    low, high = bootstrap(values)
    # Standard error sqrt(0.25 / 400) = 0.025.
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)
    assert bootstrap(values) == (low, high)


def test_bootstrap_sees_the_spread_between_seeds() -> None:
    values = np.zeros((3, 400))
    values[1] = 1
    low, high = bootstrap(values)
    # All three draws are a bad seed in 8 of 27 resamplings, all the good one in 1 of 27 (> 2.5 %).
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (5, 0, 2 / 2**5),
        (8, 2, 2 * (1 + 10 + 45) / 2**10),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p: float) -> None:
    both = [True] * 7
    a = [*both, *([True] * only_a), *([False] * only_b)]
    b = [*both, *([False] * only_a), *([True] * only_b)]
    assert mcnemar(a, b) == pytest.approx(p)
    assert mcnemar(np.array(b), np.array(a)) == pytest.approx(p)


def test_mcnemar_wants_the_same_phrases() -> None:
    with pytest.raises(ValueError, match="same phrases"):
        mcnemar([True], [True, False])
