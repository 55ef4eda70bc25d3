import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amc_models.errors import InputError
from amc_platform.data import table as table_module
from amc_platform.data.boxes import Box
from amc_platform.data.table import ImageRow, Phrase, read_info, read_rows, write_table

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
edges = st.floats(-1000, 1000, width=32)
# Plain values, made into rows in the test: type checks of rows draw random items, which a strategy may not.
phrases = st.tuples(
    texts,
    st.lists(st.builds(Box, edges, edges, edges, edges), max_size=3).map(tuple),
    st.sampled_from(["attribute", "region"]),
    texts,
    st.sampled_from(["train", "test"]),
    st.booleans(),
)
rows = st.tuples(
    texts,
    st.binary(max_size=20),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.lists(phrases, min_size=1, max_size=4),
    st.frozensets(texts, max_size=4),
)


def phrase(text: str, kind: str = "attribute", split: str = "train", hard: bool = False) -> Phrase:
    return Phrase(text, (Box(0, 1, 2, 3),), kind, "", split, hard)


def row(image_id: str, *said: Phrase) -> ImageRow:
    return ImageRow(image_id, b"png " + image_id.encode(), 8, 6, said, frozenset({"a ring"}))


THREE = [
    row("a", phrase("a star"), phrase("a red star", "region", hard=True)),
    row("b", phrase("a cross", split="test")),
    row("c", phrase("a heart"), phrase("a ring", split="test", hard=True)),
]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=6))
def test_what_is_written_is_read_again(tmp_path: Path, values: list[Any]) -> None:
    path = tmp_path / "t.parquet"
    written = [
        ImageRow(name, image, width, height, tuple(Phrase(*said) for said in phrases), also_true)
        for name, image, width, height, phrases, also_true in values
    ]
    info = write_table(path, written, source={"source": "x"}, baselines=None)
    assert read_rows(path) == written
    assert read_info(path) == info


def test_rows_of_several_groups_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [row(str(i), phrase(f"text {i}", split="test" if i == 5 else "train")) for i in range(8)]
    whole = write_table(tmp_path / "whole.parquet", written, source={}, baselines={})
    monkeypatch.setattr(table_module, "ROWS_PER_GROUP", 3)
    parts = write_table(tmp_path / "parts.parquet", iter(written), source={}, baselines={})
    assert pq.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 3
    assert read_rows(tmp_path / "parts.parquet") == written
    assert [r.image_id for r in read_rows(tmp_path / "parts.parquet", splits={"test"})] == ["5"]
    assert parts.content_hash == whole.content_hash


def test_info_counts_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    info = write_table(path, THREE, source={"seed": 3}, baselines={"test": {"hard": {"n": 1}}})
    assert info.counts == {
        "images": 3,
        "splits": {
            "train": {"images": 2, "phrases": 3, "hard": 1, "kinds": {"attribute": 2, "region": 1}},
            "test": {"images": 2, "phrases": 2, "hard": 1, "kinds": {"attribute": 2}},
        },
    }
    assert read_info(path) == info
    metadata = pq.read_metadata(path).metadata
    assert json.loads(metadata[b"amc.format_version"]) == "1"
    assert json.loads(metadata[b"amc.source"]) == {"seed": 3}
    assert json.loads(metadata[b"amc.content_hash"]) == info.content_hash


def test_baselines_may_be_filled_while_rows_are_yielded(tmp_path: Path) -> None:
    baselines: dict[str, Any] = {}

    def stream() -> Any:
        yield THREE[0]
        baselines["train"] = 1

    write_table(tmp_path / "t.parquet", stream(), source={}, baselines=baselines)
    assert read_info(tmp_path / "t.parquet").baselines == {"train": 1}


def test_splits_and_kinds_keep_matching_phrases_and_drop_bare_images(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, THREE, source={}, baselines=None)

    def kept(**chosen: Any) -> list[tuple[str, list[str]]]:
        return [(r.image_id, [p.text for p in r.phrases]) for r in read_rows(path, **chosen)]

    assert kept(splits=["test"]) == [("b", ["a cross"]), ("c", ["a ring"])]
    assert kept(kinds={"region"}) == [("a", ["a red star"])]
    assert kept(splits=["train"], kinds=["attribute"]) == [("a", ["a star"]), ("c", ["a heart"])]


@pytest.mark.parametrize("change", ["order", "image", "box", "also_true", "hard"])
def test_the_hash_sees_every_change(tmp_path: Path, change: str) -> None:
    said = THREE[0].phrases[0]
    changed = {
        "order": THREE[::-1],
        "image": [ImageRow("a", b"other", 8, 6, THREE[0].phrases, THREE[0].also_true), *THREE[1:]],
        "box": [
            row("a", Phrase("a star", (Box(0, 1, 2, 3.5),), "attribute", "", "train", False)),
            *THREE[1:],
        ],
        "also_true": [ImageRow("a", THREE[0].image, 8, 6, (said,), frozenset()), *THREE[1:]],
        "hard": [row("a", phrase("a star", hard=True)), *THREE[1:]],
    }[change]
    hashes = {
        write_table(tmp_path / "t.parquet", written, source={}, baselines=None).content_hash
        for written in (THREE, changed)
    }
    assert len(hashes) == 2


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_rows_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images") as caught:
        write_table(tmp_path / "t.parquet", [], source={}, baselines=None)
    one_line(caught)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_rows_are_yielded_leaves_no_file(tmp_path: Path) -> None:
    def stream() -> Any:
        yield THREE[0]
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        write_table(tmp_path / "t.parquet", stream(), source={}, baselines=None)
    assert list(tmp_path.iterdir()) == []


def test_a_selection_that_matches_nothing_names_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, THREE, source={}, baselines=None)
    with pytest.raises(InputError) as caught:
        read_rows(path, splits=["tset"], kinds=["region"])
    message = one_line(caught)
    assert "['tset']" in message
    assert "train: attribute, region; test: attribute" in message


@pytest.mark.parametrize("read", [read_info, read_rows])
def test_files_that_are_no_tables_are_named_in_one_line(tmp_path: Path, read: Any) -> None:
    def message(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(path) in one_line(caught)
        return str(caught.value)

    path = tmp_path / "t.parquet"
    assert "no such grounding table" in message(path)
    assert "no such grounding table" in message(tmp_path)
    path.write_bytes(b"")
    assert "cannot be read as Parquet" in message(path)
    path.write_bytes(b"not parquet at all, however long it may be")
    assert "cannot be read as Parquet" in message(path)
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    assert "not a grounding table (no amc.format_version" in message(path)
    write_table(path, THREE, source={}, baselines=None)
    whole = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata
    pq.write_table(whole.drop_columns(["also_true"]).replace_schema_metadata(metadata), path)
    assert "(no also_true)" in message(path)
    pq.write_table(whole.replace_schema_metadata({**metadata, b"amc.format_version": b'"9"'}), path)
    assert "format version 9" in message(path)
    pq.write_table(whole.replace_schema_metadata({**metadata, b"amc.counts": b"{"}), path)
    assert "amc.counts" in message(path)
    path.unlink()
    write_table(path, THREE, source={}, baselines=None)
    path.write_bytes(path.read_bytes()[:-40])
    assert "cannot be read as Parquet" in message(path)
