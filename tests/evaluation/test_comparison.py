from dataclasses import replace

import pytest
from hit_rows import HIT, hits_of

from amc_models.errors import InputError
from amc_platform.evaluation.comparison import compare
from amc_platform.evaluation.groups import detailed_groups


def test_two_rows_compared() -> None:
    first, second = hits_of("attribute", "11111"), hits_of("attribute", "00000")
    assert compare([first], [second])["attribute"].difference == 100
    assert compare([first], [second])["all"].mcnemar == pytest.approx(2 / 2**5)
    # One seed of the base beside two seeds of the other row: 5/5 and 3/5 against 1/5.
    base, seeds = (
        hits_of("attribute", "10000"),
        [hits_of("attribute", "11111"), hits_of("attribute", "11100")],
    )
    compared = compare(seeds, [base])["all"]
    assert (compared.first, compared.second) == (80, 20)
    assert compared.difference == pytest.approx(60)
    assert compared.mcnemar is None
    assert compared.low <= compared.difference <= compared.high
    assert list(compare([first], [second])) == ["all", "attribute"]


def test_the_interval_of_a_difference_is_over_images() -> None:
    def row(better: bool) -> list:
        return [
            replace(HIT, image_id=str(image), phrase_index=phrase, hit=better and image % 2 == 0)
            for image in range(10)
            for phrase in range(20)
        ]

    compared = compare([row(True)], [row(False)])["all"]
    assert (compared.difference, compared.low, compared.high) == (50, 20, 80)


def test_details_are_compared_where_they_are_asked_for() -> None:
    first = [*hits_of("region", "11"), *hits_of("spatial", "10")]
    first[2] = replace(first[2], text="the man on the left")
    second = [replace(hit, hit=False) for hit in first]
    compared = compare([first], [second], detailed_groups)
    assert (compared["spatial words"].phrases, compared["spatial words"].difference) == (1, 100)
    assert compared["no spatial words"].difference == pytest.approx(200 / 3)
    assert compared["3-5 words"].phrases == 4
    assert compared["all"].first == 75
    assert compared["split test"] == compared["all"]


def test_rows_over_other_phrases_are_not_compared() -> None:
    with pytest.raises(InputError, match="in one row only"):
        compare([hits_of("attribute", "11")], [hits_of("region", "11")])
    with pytest.raises(InputError, match="3 phrases against 2"):
        compare([hits_of("attribute", "11")], [hits_of("attribute", "110")])
    with pytest.raises(InputError, match="2 seeds against 3"):
        compare([hits_of("region", "1")] * 2, [hits_of("region", "1")] * 3)
