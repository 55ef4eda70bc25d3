import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_images import broken, listed, material, noise, phrase, small_parts

from amc_models.errors import InputError
from amc_platform.data.rows import ImageRow
from amc_platform.data.shards import Prepared, Writing, prepare_material
from amc_platform.data.storing import Storing
from amc_platform.data.table import parts, read_info, read_rows, write_table

ONE = Writing(workers=1)


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
        prepare_material(made, tmp_path / str(workers), small_parts(workers=workers, shard_bytes=20_000))
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) > 3
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_progress_counts_images_up_to_all(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare_material(
        material(tmp_path / "raw", 5), tmp_path / "t", small_parts(), lambda *at: calls.append(at)
    )
    assert calls == [(i, 5) for i in range(1, 6)]


@pytest.fixture
def stopped(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a table that was broken off while its part number `at` was written."""

    def make(at: int) -> Path:
        def report(done: int, total: int) -> None:
            if len(list((tmp_path / "t").glob("part-*"))) == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare_material(material(tmp_path / "raw", 9), tmp_path / "t", small_parts(), report)
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
    resumed = prepare_material(
        material(tmp_path / "raw", 9), table, small_parts(), lambda *at: calls.append(at)
    )
    after = files(table)
    assert {name: after[name] for name in before} == before
    assert not list(table.glob(".*"))
    assert calls[0][0] > 2
    assert calls[-1] == (9, 9)
    whole = prepare_material(material(tmp_path / "raw", 9), tmp_path / "whole", small_parts())
    assert resumed.info == whole.info
    for name in after:
        assert (table / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_table_is_left_as_it_is(tmp_path: Path) -> None:
    first = prepare_material(material(tmp_path / "raw"), tmp_path / "t", small_parts())
    before = files(tmp_path / "t")
    second = prepare_material(
        material(tmp_path / "raw"), tmp_path / "t", small_parts(workers=2, max_rejected=0.5)
    )
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
        prepare_material(material(tmp_path / "raw", 9), table, small_parts())
    before = files(table)
    with pytest.raises(InputError, match=message):
        prepare_material(material(tmp_path / "raw", 9), table, small_parts(**changes))
    assert files(table) == before


def test_other_annotations_are_not_mixed_into_a_table(stopped: Callable[[int], Path], tmp_path: Path) -> None:
    table = stopped(2)
    other = material(tmp_path / "raw", 9)
    other.tasks[1] = replace(other.tasks[1], phrases=(phrase("another thing"),))
    with pytest.raises(InputError, match="begun with other annotations; delete"):
        prepare_material(other, table, small_parts())


def test_a_part_that_was_not_wholly_uploaded_is_written_again(
    stopped: Callable[[int], Path], tmp_path: Path
) -> None:
    table = stopped(2)
    part = table / "part-00001.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])
    prepare_material(material(tmp_path / "raw", 9), table, small_parts())
    assert part.read_bytes() == whole


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
    prepare_material(material(tmp_path / "raw"), tmp_path / "t", small_parts())
    (tmp_path / "t" / "part-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"part-00001\.parquet: no such grounding table"):
        read_rows(tmp_path / "t")


def test_a_list_of_parts_of_another_version_is_refused(tmp_path: Path) -> None:
    prepare_material(material(tmp_path / "raw"), tmp_path / "t", small_parts())
    manifest = tmp_path / "t" / "_table.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": "9"}))
    with pytest.raises(InputError, match="format version 9"):
        read_info(tmp_path / "t")


def test_prepared_is_what_is_on_disk(tmp_path: Path) -> None:
    prepared: Prepared = prepare_material(material(tmp_path / "raw"), tmp_path / "t", small_parts())
    source = read_info(tmp_path / "t").source
    assert (source["counts"], source["rejected"]) == (prepared.counts, prepared.rejected)
