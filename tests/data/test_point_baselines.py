"""Baselines of real tables by hand, and the same in a prepared table."""

from pathlib import Path

import numpy as np
from raw_images import noise

from amc_platform.data.baselines import POINTS, PointTally, lattice_hits
from amc_platform.data.boxes import Box
from amc_platform.data.material import ImageTask, Material
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.shards import Writing, prepare_material
from amc_platform.data.table import is_table, read_info

LEFT, LARGE, CORNER = Box(0, 0, 40, 80), Box(45, 0, 100, 80), Box(90, 70, 100, 80)
PHRASES = (
    Phrase("a man", (LEFT,), "entity", "people", "val", False),
    Phrase("a wall", (LARGE,), "entity", "scene", "val", False),
    Phrase("his shoes", (CORNER, LEFT), "entity", "clothing/people", "val", False),
    Phrase("shade", (CORNER,), "entity", "other", "train", False),
    Phrase("nothing", (), "entity", "other", "train", False),
)


def row(image_id: str = "1") -> ImageRow:
    return ImageRow(image_id, b"", 100, 80, PHRASES, frozenset())


def test_lattice_by_hand() -> None:
    hits = lattice_hits([Box(0, 0, 50, 80), Box(0, 0, 100, 2)], 100, 80)
    # Points lie in the middle of cells of 3.125 by 2.5 pixels; the first row is at 1.25, the next at 3.75.
    assert hits.shape == (POINTS, POINTS)
    assert hits[0].all()
    assert (hits[1:] == (np.arange(POINTS) < POINTS / 2)).all()


def test_percentages_by_hand() -> None:
    tally = PointTally()
    tally.add(row())
    # The middle is (50, 40), in the large box alone; the middle of that is (72.5, 40).
    wall = {"n": 1, "centre_of_image": 100.0, "centre_of_largest_box": 100.0, "best_fixed_point": 100.0}
    left = {"centre_of_image": 0.0, "centre_of_largest_box": 0.0, "best_fixed_point": 100.0}
    every = {"n": 3, "centre_of_image": 33.33, "centre_of_largest_box": 33.33, "best_fixed_point": 66.67}
    assert tally.percentages() == {
        "train": {"all": {"n": 1, **left}, "entity": {"n": 1, **left}, "other": {"n": 1, **left}},
        "val": {
            "all": every,
            "entity": every,
            "people": {"n": 2, **left},
            "clothing": {"n": 1, **left},
            "scene": wall,
        },
    }


def test_edges_are_outside() -> None:
    tally = PointTally()
    half = Phrase("a half", (Box(0, 0, 50, 80),), "entity", "", "val", False)
    tally.add(ImageRow("1", b"", 100, 80, (half,), frozenset()))
    assert tally.percentages()["val"]["all"]["centre_of_image"] == 0.0


def test_a_prepared_table_carries_them_also_after_a_kill(tmp_path: Path) -> None:
    source = tmp_path / "1.jpg"
    source.write_bytes(noise(100, 80))
    phrases = tuple(phrase for phrase in PHRASES if phrase.boxes)
    names = ("1", "2")

    def material() -> Material:
        tasks = [ImageTask(name, str(source), 100, 80, phrases) for name in names]
        return Material({"source": "test"}, tasks)

    # A part an image.
    writing, table = Writing(shard_bytes=1, workers=1), tmp_path / "t.parquet"
    whole = prepare_material(material(), table, writing).info
    assert whole.baselines["val"]["all"] == {
        "n": 6,
        "centre_of_image": 33.33,
        "centre_of_largest_box": 33.33,
        "best_fixed_point": 66.67,
    }
    assert read_info(table) == whole
    (table / "_table.json").unlink()
    (table / "part-00001.parquet").unlink()
    assert not is_table(table)
    assert prepare_material(material(), table, writing).info == whole
    assert is_table(table)
