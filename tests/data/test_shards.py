import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_images import material, noise, phrase

from amc_models.errors import InputError
from amc_platform.data.material import Material, Rejected
from amc_platform.data.rejected import TooManyRejectedError
from amc_platform.data.rows import ImageRow
from amc_platform.data.shards import Prepared, Writing, prepare_material
from amc_platform.data.storing import Storing
from amc_platform.data.table import parts, read_info, read_rows, write_table

ONE = Writing(workers=1)


def small(**changes: Any) -> Writing:
    """Parts of two images or so."""
    return replace(Writing(workers=1, shard_bytes=1500), **changes)


def listed(prepared_file: str | Path) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in pq.read_table(prepared_file).to_pylist()]


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file was written, and which it is."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def test_a_table_holds_the_images_their_phrases_and_the_counts(tmp_path: Path) -> None:
    prepared = prepare_material(material(tmp_path / "raw", 3), tmp_path / "t.parquet", ONE)
    rows = read_rows(tmp_path / "t.parquet")
    assert rows[1] == ImageRow(
        "1",
        noise(40, 24, seed=1),
        40,
        24,
        # As float32 stores it.
        (phrase("thing 1"), phrase("a thing", (0, 0, 3.700000047683716, 4))),
        frozenset({"a sky"}),
        ("noise:1",),
    )
    assert rows[1].phrases[0].categories == ("people",)
    assert [row.image_id for row in rows] == ["0", "1", "2"]
    assert prepared.counts == {"images": 3, "phrases": 6, "odd": {"no": 2, "yes": 1}}
    assert prepared.info.counts["splits"]["val"] == {
        "images": 3,
        "phrases": 6,
        "hard": 0,
        "kinds": {"entity": 6},
    }
    assert read_info(tmp_path / "t.parquet") == prepared.info
    assert {
        "source": "noise",
        "images": True,
        "split": ["val"],
        "image_size": None,
    }.items() <= prepared.info.source.items()
    assert prepared.rejected == {"images": 0, "texts": 0, "boxes": 0}
    assert prepared.rejected_file == str(tmp_path / "t.rejected.parquet")
    assert listed(prepared.rejected_file) == []


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(1, 6000), st.sampled_from([None, 16]))
def test_content_and_order_do_not_depend_on_the_parts(
    tmp_path_factory: pytest.TempPathFactory, images: int, shard_bytes: int, image_size: int | None
) -> None:
    folder = tmp_path_factory.mktemp("t")
    writing = Writing(Storing(image_size), shard_bytes, workers=1)
    info = prepare_material(material(folder / "raw", images), folder / "t", writing).info
    rows = read_rows(folder / "t")
    one_file = write_table(folder / "one.parquet", rows, source={}, baselines=None)
    assert (info.content_hash, info.counts) == (one_file.content_hash, one_file.counts)
    held = [read_rows(part) for part in parts(folder / "t")]
    assert [row for part in held for row in part] == rows
    sizes = [sum(len(r.image) + sum(len(p.text) + 16 for p in r.phrases) for r in part) for part in held]
    last = [len(part[-1].image) + sum(len(p.text) + 16 for p in part[-1].phrases) for part in held]
    # A part is full with its last image and not before.
    assert all(size >= shard_bytes for size in sizes[:-1])
    assert all(size - row < shard_bytes for size, row in zip(sizes, last, strict=True))


def test_two_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    for workers in (1, 2):
        made = material(tmp_path / "raw", 70)
        prepare_material(made, tmp_path / str(workers), small(workers=workers, shard_bytes=20_000))
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) > 3
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_progress_counts_images_up_to_all(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare_material(material(tmp_path / "raw", 5), tmp_path / "t", small(), lambda *at: calls.append(at))
    assert calls == [(i, 5) for i in range(1, 6)]


@pytest.fixture
def stopped(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a table that was broken off while its part number `at` was written."""

    def make(at: int) -> Path:
        def report(done: int, total: int) -> None:
            if len(list((tmp_path / "t").glob("part-*"))) == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare_material(material(tmp_path / "raw", 9), tmp_path / "t", small(), report)
        return tmp_path / "t"

    return make


def test_a_run_that_was_broken_off_goes_on_and_leaves_finished_parts_alone(
    stopped: Callable[[int], Path], tmp_path: Path
) -> None:
    table = stopped(2)
    before = files(table)
    assert sorted(before) == ["part-00000.parquet", "part-00001.parquet"]
    # What a killed process leaves, as it cannot clean up.
    (table / ".part-00002.parquet.1a2b3c4d.tmp").write_bytes(b"half")
    with pytest.raises(InputError, match=r"no such grounding table \(a folder without _table.json\)"):
        read_rows(table)
    calls: list[tuple[int, int]] = []
    resumed = prepare_material(material(tmp_path / "raw", 9), table, small(), lambda *at: calls.append(at))
    after = files(table)
    assert {name: after[name] for name in before} == before
    assert not list(table.glob(".*"))
    assert calls[0][0] > 2
    assert calls[-1] == (9, 9)
    whole = prepare_material(material(tmp_path / "raw", 9), tmp_path / "whole", small())
    assert resumed.info == whole.info
    for name in after:
        assert (table / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_table_is_left_as_it_is(tmp_path: Path) -> None:
    first = prepare_material(material(tmp_path / "raw"), tmp_path / "t", small())
    before = files(tmp_path / "t")
    second = prepare_material(material(tmp_path / "raw"), tmp_path / "t", small(workers=2, max_rejected=0.5))
    assert (first.was_there, second.was_there) == (False, True)
    assert second == first._replace(was_there=True)
    assert files(tmp_path / "t") == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storing": Storing(16)}, "image_size: None, not 16"),
        ({"shard_bytes": 999}, "shard_bytes: 1500, not 999"),
    ],
)
def test_other_options_are_not_mixed_into_a_table(
    stopped: Callable[[int], Path], tmp_path: Path, finished: bool, changes: dict[str, Any], message: str
) -> None:
    table = stopped(1)
    if finished:
        prepare_material(material(tmp_path / "raw", 9), table, small())
    before = files(table)
    with pytest.raises(InputError, match=message):
        prepare_material(material(tmp_path / "raw", 9), table, small(**changes))
    assert files(table) == before


def test_other_annotations_are_not_mixed_into_a_table(stopped: Callable[[int], Path], tmp_path: Path) -> None:
    table = stopped(2)
    other = material(tmp_path / "raw", 9)
    other.tasks[1] = replace(other.tasks[1], phrases=(phrase("another thing"),))
    with pytest.raises(InputError, match="begun with other annotations; delete"):
        prepare_material(other, table, small())


def test_a_part_that_was_not_wholly_uploaded_is_written_again(
    stopped: Callable[[int], Path], tmp_path: Path
) -> None:
    table = stopped(2)
    part = table / "part-00001.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])
    prepare_material(material(tmp_path / "raw", 9), table, small())
    assert part.read_bytes() == whole


def broken(folder: Path, images: int, bad: list[int]) -> Material:
    made = material(folder, images)
    for i in bad:
        (folder / f"{i}.jpg").write_bytes(b"not an image")
    return made


def test_bad_images_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    made = broken(tmp_path / "raw", 8, [2, 7])
    made.reject("text", "3", "", "an empty text")
    made.seen["text"] += 1
    prepared = prepare_material(made, tmp_path / "t", small(max_rejected=0.25))
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

    writing = small(max_rejected=0.25)
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
    message = error(broken(tmp_path / "raw", 40, [0, *range(20, 40)]), tmp_path / "t", small())
    assert message.startswith("1 of 40 images")
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["part-00000.parquet"]


def test_images_without_phrases_are_counted_and_left_out(tmp_path: Path) -> None:
    made = material(tmp_path / "raw", 3)
    made.tasks[0] = replace(made.tasks[0], phrases=())
    prepared = prepare_material(made, tmp_path / "t", ONE)
    assert prepared.counts["images"] == 3
    assert prepared.counts["images_without_phrases"] == 1
    assert prepared.info.counts["images"] == 2


def test_annotations_only(tmp_path: Path) -> None:
    made = material(tmp_path / "raw", 3)
    made.tasks = [replace(task, path=None) for task in made.tasks]
    prepared = prepare_material(made, tmp_path / "t", ONE)
    assert prepared.info.source["images"] is False
    assert [(row.image, row.width) for row in read_rows(tmp_path / "t")] == [(b"", 40)] * 3


def test_no_image_at_all_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image is left, see .*t\.rejected\.parquet"):
        prepare_material(broken(tmp_path / "raw", 2, [0, 1]), tmp_path / "t", replace(ONE, max_rejected=1.0))
    assert not (tmp_path / "t").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"t\.parquet: is a file"):
        prepare_material(material(tmp_path / "raw", 1), tmp_path / "t.parquet", ONE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not the list of a table's parts"),
        ("[]", "not the list of a table's parts"),
        ('{"parts": []}', "not the list of a table's parts"),
    ],
)
def test_a_damaged_list_of_parts_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "_table.json").write_text(content)
    for read in (read_info, read_rows):
        with pytest.raises(InputError, match=message):
            read(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    prepare_material(material(tmp_path / "raw"), tmp_path / "t", small())
    (tmp_path / "t" / "part-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"part-00001\.parquet: no such grounding table"):
        read_rows(tmp_path / "t")


def test_a_list_of_parts_of_another_version_is_refused(tmp_path: Path) -> None:
    prepare_material(material(tmp_path / "raw"), tmp_path / "t", small())
    manifest = tmp_path / "t" / "_table.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": "9"}))
    with pytest.raises(InputError, match="format version 9"):
        read_info(tmp_path / "t")


def test_rejected_things_survive_as_they_are(tmp_path: Path) -> None:
    made = material(tmp_path / "raw", 1)
    made.rejected = [Rejected("text", "0", "größe \N{SNOWMAN}", "x" * 10_000)]
    made.seen["text"] = 1
    prepared = prepare_material(made, tmp_path / "t", replace(ONE, max_rejected=1.0))
    assert listed(prepared.rejected_file) == [("text", "0", "größe \N{SNOWMAN}", "x" * 10_000)]


def test_prepared_is_what_is_on_disk(tmp_path: Path) -> None:
    prepared: Prepared = prepare_material(material(tmp_path / "raw"), tmp_path / "t", small())
    source = read_info(tmp_path / "t").source
    assert (source["counts"], source["rejected"]) == (prepared.counts, prepared.rejected)
