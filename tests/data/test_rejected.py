"""What cannot be used: listed beside the table, counted, and too much of it an error."""

from dataclasses import replace
from pathlib import Path

import pytest
from raw_images import broken, listed, material, small_parts

from amc_platform.data.material import Material, Rejected
from amc_platform.data.rejected import TooManyRejectedError
from amc_platform.data.shards import Writing, prepare_material
from amc_platform.data.table import read_rows

ONE = Writing(workers=1)


def test_bad_images_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    made = broken(tmp_path / "raw", 8, [2, 7])
    made.reject("text", "3", "", "an empty text")
    made.seen["text"] += 1
    prepared = prepare_material(made, tmp_path / "t", small_parts(max_rejected=0.25))
    assert [row.image_id for row in read_rows(tmp_path / "t")] == ["0", "1", "3", "4", "5", "6"]
    assert prepared.rejected == {"images": 2, "texts": 1, "boxes": 0}
    assert prepared.counts == {"images": 6, "phrases": 12, "odd": {"no": 3, "yes": 3}}
    rows = listed(prepared.rejected_file)
    assert [row[:3] for row in rows] == [
        ("text", "3", ""),
        ("image", "2", str(tmp_path / "raw" / "2.jpg")),
        ("image", "7", str(tmp_path / "raw" / "7.jpg")),
    ]
    assert rows[0][3] == "an empty text"
    assert rows[1][3] == "not an image, or of an unknown kind"


def test_an_image_whose_second_mention_is_rejected_still_counts(tmp_path: Path) -> None:
    made = material(tmp_path / "raw", 2)
    made.reject("image", "1", "val.txt", "listed twice")
    assert prepare_material(made, tmp_path / "t", replace(ONE, max_rejected=0.5)).counts["images"] == 2


def test_what_earlier_parts_rejected_is_not_forgotten(tmp_path: Path) -> None:
    def report(done: int, total: int) -> None:
        if len(list((tmp_path / "t").glob("part-*"))) == 2:
            raise KeyboardInterrupt

    writing = small_parts(max_rejected=0.25)
    with pytest.raises(KeyboardInterrupt):
        prepare_material(broken(tmp_path / "raw", 9, [1, 8]), tmp_path / "t", writing, report)
    resumed = prepare_material(broken(tmp_path / "raw", 9, [1, 8]), tmp_path / "t", writing)
    assert [row[1] for row in listed(resumed.rejected_file)] == ["1", "8"]
    assert resumed.counts["images"] == 7


def error(made: Material, out: Path, writing: Writing) -> str:
    with pytest.raises(TooManyRejectedError) as caught:
        prepare_material(made, out, writing)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_more_than_allowed_is_an_error_that_names_reasons_and_file(tmp_path: Path) -> None:
    made = broken(tmp_path / "raw", 20, [4, 5, 6, 19])
    message = error(made, tmp_path / "t.parquet", replace(ONE, max_rejected=0.1999))
    assert message.startswith(
        "4 of 20 images cannot be used (20.00%, --max-rejected allows 19.99%): image 4, "
    )
    assert message.count("not an image") == 3
    assert f"all are listed in {tmp_path / 't.rejected.parquet'}" in message
    assert [row[1] for row in listed(tmp_path / "t.rejected.parquet")] == ["4", "5", "6", "19"]
    # Not a table yet; the same command with a higher limit makes it one.
    assert not (tmp_path / "t.parquet" / "_table.json").exists()
    prepared = prepare_material(
        broken(tmp_path / "raw", 20, []), tmp_path / "t.parquet", replace(ONE, max_rejected=0.2)
    )
    assert prepared.counts["images"] == 16


@pytest.mark.parametrize(("seen", "fails"), [(1000, False), (999, True)])
def test_one_in_a_thousand_is_allowed(tmp_path: Path, seen: int, fails: bool) -> None:
    made = material(tmp_path / "raw", 1)
    made.seen["box"] = seen
    made.reject("box", "0", "[0, 0, 0, 0]", "empty")
    if fails:
        assert error(made, tmp_path / "t", ONE).startswith("1 of 999 boxes")
        # Said before any image is read.
        assert not (tmp_path / "t").exists()
    else:
        assert prepare_material(made, tmp_path / "t", ONE).rejected == {"images": 0, "texts": 0, "boxes": 1}


def test_too_many_are_found_out_after_the_first_part(tmp_path: Path) -> None:
    message = error(broken(tmp_path / "raw", 40, [0, *range(20, 40)]), tmp_path / "t", small_parts())
    assert message.startswith("1 of 40 images")
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["part-00000.parquet"]


def test_rejected_things_survive_as_they_are(tmp_path: Path) -> None:
    made = material(tmp_path / "raw", 1)
    made.rejected = [Rejected("text", "0", "größe \N{SNOWMAN}", "x" * 10_000)]
    made.seen["text"] = 1
    prepared = prepare_material(made, tmp_path / "t", replace(ONE, max_rejected=1.0))
    assert listed(prepared.rejected_file) == [("text", "0", "größe \N{SNOWMAN}", "x" * 10_000)]
