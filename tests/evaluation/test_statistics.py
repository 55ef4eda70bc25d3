import numpy as np
import pytest

from amc_platform.evaluation.statistics import bootstrap, holm, mcnemar, paired_test


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


def p_of(sums: object) -> float:
    """p of differences [seeds, images]."""
    (p,) = paired_test(np.array(sums, dtype=np.float64)[:, :, None])
    return float(p)


def test_the_paired_test_of_one_seed_by_hand() -> None:
    # Four images, all for the first: t = 4 / sqrt(4) with 3 degrees of freedom. Others say nothing.
    assert p_of([[1, 1, 1, 1]]) == pytest.approx(0.13932596855884)
    assert p_of([[1, 1, 1, 1, 0, 0, 0]]) == p_of([[1, 1, 1, 1]])
    assert p_of([[3, -1, 2, 0]]) == pytest.approx(p_of([[-3, 1, -2, 0]]))
    # As many for either side; and where there is one image or none that differs, nothing can be said.
    assert p_of([[1, -1, 1, -1]]) == 1
    assert p_of([[5, 0, 0]]) == p_of([[0, 0, 0]]) == 1


def test_phrases_of_one_image_are_one_case_in_the_paired_test() -> None:
    # 20 phrases on 20 images, or all of them on two: far more certain in the first case.
    assert p_of([[1] * 20]) < 0.001
    assert p_of([[10, 10]]) == pytest.approx(0.3918265520306)


def test_the_paired_test_of_two_seeds_by_hand() -> None:
    # Means of the images: 1 and 1, so 2 over images with 1 degree of freedom; seeds sum to 4 and 0, variance of their
    # mean 8 / 2 = 4 with 1 degree. t = 2 / sqrt(2 + 4) with 6^2 / (2^2 + 4^2) = 1.8 degrees.
    from scipy.stats import t

    assert p_of([[2, 2], [0, 0]]) == pytest.approx(2 * t.sf(2 / 6**0.5, 1.8))
    # The same images and sum, seeds that agree.
    assert p_of([[1, 1], [1, 1]]) == pytest.approx(2 * t.sf(2 / 2**0.5, 1))


def test_seeds_that_disagree_make_nothing_significant() -> None:
    one = np.zeros((3, 400))
    one[0, :120] = 1
    assert p_of(one[:1]) < 1e-9  # a single seed cannot know
    assert p_of(one) > 0.2


def test_the_paired_test_is_wrong_as_often_as_it_says() -> None:
    # Rows that are equally good: a hit has a probability of its image's and its seed's own, the same for both rows.
    random = np.random.default_rng(0)
    ps: list[float] = []
    for _ in range(400):
        easy, able = random.normal(size=(1, 60, 1)), random.normal(size=(2, 3, 1, 1)) * 0.5
        share = 1 / (1 + np.exp(-(easy[None] + able)))
        hits = (random.random((2, 3, 60, 5)) < share).sum(axis=-1)
        ps.append(p_of(hits[0] - hits[1]))
    # 5 % of 400 is 20, with a standard deviation of 4.4.
    assert 2 <= sum(p < 0.05 for p in ps) <= 33


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []
