import numpy as np
import pytest

from amc_platform.evaluation.statistics import bootstrap, mcnemar


def one_phrase_an_image(values: np.ndarray) -> tuple[float, float]:
    """Interval of values [seeds, images], each image with one phrase."""
    ((low, high),) = bootstrap(values[:, :, None], np.ones((values.shape[1], 1)))
    return float(low), float(high)


def test_bootstrap_of_what_does_not_vary() -> None:
    assert one_phrase_an_image(np.ones((3, 50))) == (1.0, 1.0)


def test_bootstrap_of_independent_phrases_is_near_the_normal_interval() -> None:
    values = np.tile([0.0, 1.0], 200)[None]
    low, high = one_phrase_an_image(values)
    # Standard error sqrt(0.25 / 400) = 0.025.
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)
    assert one_phrase_an_image(values) == (low, high)


def test_phrases_of_an_image_are_no_independent_cases() -> None:
    # 100 images of four phrases, all right or all wrong: standard error sqrt(0.25 / 100) = 0.05, not 0.025.
    sums, counts = np.tile([0.0, 4.0], 50)[None, :, None], np.full((100, 1), 4.0)
    ((low, high),) = bootstrap(sums, counts)
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.012)
    assert high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.012)


def test_an_image_weighs_by_its_phrases() -> None:
    # One image of nine hits, one of a single miss: draws give 0, 9/10 or 1.
    intervals = bootstrap(np.array([[[9.0], [0.0]]]), np.array([[9.0], [1.0]]))
    assert intervals.tolist() == [[0.0, 1.0]]


def test_a_group_missing_from_a_draw_says_nothing_there() -> None:
    # The second group is in one image of three: it is missing from (2/3)^3 of the draws.
    sums = np.array([[[1.0, 2.0], [0.0, 0.0], [1.0, 0.0]]])
    counts = np.array([[1.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    intervals = bootstrap(sums, counts)
    assert intervals[1].tolist() == [1.0, 1.0]
    assert intervals[0].tolist() == [0.0, 1.0]


def test_bootstrap_sees_the_spread_between_seeds() -> None:
    values = np.zeros((3, 400))
    values[1] = 1
    low, high = one_phrase_an_image(values)
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
