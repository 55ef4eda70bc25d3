"""Rows on demand are the rows that `read_rows` reads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.data import table
from amc_platform.data.boxes import Box
from amc_platform.data.places import Place
from amc_platform.data.reader import TableRows, open_rows
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.table import Tally, read_rows, write_manifest, write_table


def phrase(text: str, split: str, kind: str) -> Phrase:
    return Phrase(
        text, (Box(1, 2, 3, 4), Box(0.5, 0, 9, 8))[: 1 + len(text) % 2], kind, "", split, kind == "region"
    )


def rows(count: int = 40) -> list[ImageRow]:
    kinds, splits = ("attribute", "region", "spatial"), ("train", "val")
    return [
        ImageRow(
            f"i{i}",
            bytes([i]) * (1000 + i),
            10 + i,
            20,
            tuple(
                phrase(f"{'p' * k} {i}", splits[(i + k) % 2], kinds[(i * k) % 3]) for k in range(i % 4 + 1)
            ),
            frozenset(f"t{k}" for k in range(i % 3)),
        )
        for i in range(count)
    ]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(table, "ROWS_PER_GROUP", 7)
    write_table(tmp_path / "t.parquet", rows(), source={"source": "test"}, baselines=None)
    return tmp_path / "t.parquet"


@pytest.mark.parametrize("splits", [None, {"train"}, {"val", "train"}])
@pytest.mark.parametrize("kinds", [None, {"spatial"}, {"region", "attribute"}])
def test_rows_are_those_of_read_rows(written: Path, splits: set[str] | None, kinds: set[str] | None) -> None:
    lazy, eager = (read(written, splits=splits, kinds=kinds) for read in (open_rows, read_rows))
    assert [lazy[i] for i in range(len(lazy))] == eager
    if splits is None and kinds is None:
        assert eager == rows()


def test_few_images_are_kept(written: Path) -> None:
    # A group of seven images is about 7 kB.
    reader = TableRows(written, None, None, kept_bytes=20_000)
    images = [reader[i].image for i in (39, 0, 20, 39, 3, 12, 30)]
    assert images == [rows()[i].image for i in (39, 0, 20, 39, 3, 12, 30)]
    assert sum(group.nbytes for group in reader._images.values()) == reader._bytes <= 20_000
    assert len(reader._images) == 2


def test_threads_may_ask_at_once(written: Path) -> None:
    reader, wanted = TableRows(written, None, None, kept_bytes=20_000), rows()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: reader[i % 40], range(400)))
    assert got == [wanted[i % 40] for i in range(400)]


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    folder, tally, names = tmp_path / "t.parquet", Tally(), []
    for number, half in enumerate((rows()[:25], rows()[25:])):
        names.append(f"part-{number:05d}.parquet")
        write_table(folder / names[-1], half, source={"source": "test"}, baselines=None, whole=tally)
    write_manifest(Place.of(folder), tally.info({"source": "test"}), names)
    lazy = open_rows(folder)
    assert [lazy[i] for i in range(len(lazy))] == rows()


def test_what_is_not_there(written: Path) -> None:
    reader = open_rows(written, splits={"train"})
    for index in (-1, len(reader)):
        with pytest.raises(IndexError):
            reader[index]
    with pytest.raises(InputError, match=r"no phrase in split test; it holds train: .*; val: "):
        open_rows(written, splits={"test"})
    with pytest.raises(InputError, match="no phrase in split train, val of kind category; it holds"):
        open_rows(written, kinds={"category"})
    with pytest.raises(InputError, match="no such grounding table"):
        open_rows(written.with_name("none.parquet"))
