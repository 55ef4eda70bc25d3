from dataclasses import replace

import pytest
from hit_rows import HIT, hits_of

from amc_platform.data.boxes import Box
from amc_platform.evaluation.accuracy import accuracy_table
from amc_platform.evaluation.groups import detailed_groups


def test_accuracy_by_group() -> None:
    hits = hits_of("attribute", "1101", hard="h..h") + hits_of("region", "00", hard=".h", category="people")
    table = accuracy_table(hits)
    assert {group: (accuracy.hits, accuracy.total) for group, accuracy in table.items()} == {
        "all": (3, 6),
        "attribute": (3, 4),
        "region": (0, 2),
        "people": (0, 2),
        "hard": (2, 3),
        "hard/attribute": (2, 2),
        "hard/region": (0, 1),
    }
    assert table["attribute"].percent == 75
    assert (table["region"].low, table["region"].high) == (0, 0)
    assert accuracy_table([]) == {}


def test_the_interval_is_over_images() -> None:
    # Ten images of twenty phrases, five of them all right: as sure as ten cases, not two hundred.
    hits = [
        replace(HIT, image_id=str(image), phrase_index=phrase, hit=image % 2 == 0)
        for image in range(10)
        for phrase in range(20)
    ]
    accuracy = accuracy_table(hits)["all"]
    assert (accuracy.percent, accuracy.total) == (50, 200)
    # Of ten draws two are right with 4.4 %, one with 1 %; eight with 4.4 %, nine with 1 %.
    assert (accuracy.low, accuracy.high) == (20, 80)


def test_a_phrase_of_two_categories_counts_in_both() -> None:
    hits = [*hits_of("region", "1", category="people/clothing"), *hits_of("region", "0", category="people")]
    table = accuracy_table(hits)
    assert (table["people"].hits, table["people"].total) == (1, 2)
    assert (table["clothing"].hits, table["clothing"].total) == (1, 1)


def test_recall_is_counted_apart() -> None:
    hits = [replace(HIT, hit=False, recall=True), replace(HIT, hit=True, recall=False)]
    assert accuracy_table(hits, counts=lambda hit: hit.recall is True)["all"].percent == 50


@pytest.mark.parametrize(
    ("change", "group"),
    [
        # 64 x 48 = 3072 square pixels: below 8 % is below 245.8, above 30 % above 921.6.
        ({"boxes": (Box(0, 0, 15, 16),)}, "small box"),
        ({"boxes": (Box(0, 0, 16, 16), Box(0, 0, 2, 2))}, "medium box"),
        ({"boxes": (Box(0, 0, 40, 24),)}, "large box"),
        ({"text": "red star"}, "1-2 words"),
        ({"text": "a very small red star"}, "3-5 words"),
        ({"text": "a very small red star here"}, "6 or more words"),
        ({"text": "the Leftmost man"}, "spatial words"),
        ({"text": "a man next to a dog"}, "spatial words"),
        ({"text": "leftover bright copyright"}, "no spatial words"),
        ({"split": "testA"}, "split testA"),
    ],
)
def test_details_of_a_phrase(change: dict, group: str) -> None:
    assert group in detailed_groups(replace(HIT, **change))
