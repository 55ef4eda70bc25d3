"""Flickr30k Entities as `data.prepare` of a spec: what the table holds, and what is said of missing raw files."""

import io
import shutil
from pathlib import Path

import pytest
from official_files import boxed, write_entities
from PIL import Image

from amc_models.errors import InputError
from amc_platform.data.prepare import prepare
from amc_platform.data.table import read_info, read_rows
from amc_platform.spec import Flickr30kSource

SENTENCES = "[/EN#1/people A man] stands .\n"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Lists and photos in `raw`, annotations in `unpacked`: one image of train, two of val, a photo lacking for one."""
    folder = tmp_path / "raw"
    (folder / "flickr30k-images").mkdir(parents=True)
    (folder / "train.txt").write_text("1\n")
    (folder / "val.txt").write_text("2\n3\n")
    for name in "123":
        write_entities(tmp_path / "unpacked", name, SENTENCES, boxed("1", box=(1, 1, 50, 80)))
    for name in "12":
        photo = io.BytesIO()
        Image.new("RGB", (100, 80), (200, 30, 30)).save(photo, "JPEG")
        (folder / "flickr30k-images" / f"{name}.jpg").write_bytes(photo.getvalue())
    return folder


def source(raw: Path, **fields: object) -> Flickr30kSource:
    written = {"source": "flickr30k-entities", "raw": str(raw), "annotations": str(raw.parent / "unpacked")}
    return Flickr30kSource.model_validate(
        {**written, "splits": ["train", "val"], "only_present": True, **fields}
    )


def test_train_and_val_are_in_one_table(raw: Path, tmp_path: Path) -> None:
    info = prepare(source(raw, image_size=50, quality=80), tmp_path / "t.parquet", workers=1)
    assert {split: at["images"] for split, at in info.counts["splits"].items()} == {"train": 1, "val": 1}
    # Left out on purpose, counted, and not rejected.
    assert info.source["counts"]["images_left_out"] == 1
    assert info.source["rejected"] == {"images": 0, "texts": 0, "boxes": 0}
    assert (info.source["image_size"], info.source["quality"]) == (50, 80)
    assert info.baselines["val"]["people"]["n"] == 1
    rows = read_rows(tmp_path / "t.parquet")
    assert [(row.image_id, row.width, row.phrases[0].split) for row in rows] == [
        ("1", 100, "train"),
        ("2", 100, "val"),
    ]
    with Image.open(io.BytesIO(rows[0].image)) as stored:
        assert stored.size == (50, 40)


def test_a_finished_table_is_left_as_it_is(raw: Path, tmp_path: Path) -> None:
    first = prepare(source(raw), tmp_path / "t.parquet", workers=1)
    assert (
        prepare(source(raw), tmp_path / "t.parquet", workers=1) == first == read_info(tmp_path / "t.parquet")
    )


@pytest.mark.parametrize("gone", ["raw", "raw/val.txt", "raw/flickr30k-images", "unpacked/Annotations"])
def test_missing_raw_files_are_one_line_that_says_what_belongs_where(
    raw: Path, tmp_path: Path, gone: str
) -> None:
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as error:
        prepare(source(raw), tmp_path / "t.parquet")
    text = str(error.value)
    assert text.startswith(f"data.prepare: {tmp_path / gone}")
    for part in ("train.txt, val.txt", str(raw), str(tmp_path / "unpacked"), str(raw / "flickr30k-images")):
        assert part in text
    assert "\n" not in text
    assert not (tmp_path / "t.parquet").exists()


def test_photos_that_are_wanted_and_not_there_are_rejected(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.prepare: 1 of 3 images cannot be used .*image 3"):
        prepare(source(raw, only_present=False), tmp_path / "t.parquet", workers=1)
    assert not (tmp_path / "t.parquet").exists()


def test_quality_needs_a_size(raw: Path) -> None:
    with pytest.raises(ValueError, match="no effect while image_size is null"):
        source(raw, quality=80)
