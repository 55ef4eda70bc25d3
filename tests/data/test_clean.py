"""The clean split: images of RefCOCO+ that Visual Genome does not have."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from amc_models.errors import InputError
from amc_platform.cli.doctor import doctor
from amc_platform.data.boxes import Box
from amc_platform.data.clean import clean_table, known_origins
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.table import read_info, read_rows, write_table

SOURCE = {
    "source": "refcoco_plus",
    "split_by": "unc",
    "images": False,
    "counts": {"images": 5},
    "rejected": {},
}


def row(coco_id: int, split: str, *origins: str) -> ImageRow:
    phrase = Phrase("left man", (Box(0, 0, 5, 5),), "referring", "", split, False)
    return ImageRow(str(coco_id), b"", 10, 10, (phrase,), frozenset(), origins or (f"coco:{coco_id}",))


# Visual Genome took the COCO images 12, 14 and 16; its own number 11 is another image.
ROWS = [row(11, "val"), row(12, "val"), row(13, "testA"), row(14, "testA"), row(15, "testB")]
IMAGE_DATA = [
    {"image_id": 1, "width": 9, "height": 9, "coco_id": 12, "flickr_id": 700, "url": "u"},
    {"image_id": 11, "width": 9, "height": 9, "coco_id": None, "flickr_id": 15, "url": "u"},
    {"image_id": 3, "width": 9, "height": 9, "coco_id": 14, "flickr_id": None, "url": "u"},
    {"image_id": 4, "width": 9, "height": 9, "coco_id": 16, "flickr_id": None, "url": "u"},
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(tmp_path / "refcoco_plus.parquet", ROWS, source=SOURCE, baselines=None)
    return tmp_path / "refcoco_plus.parquet"


@pytest.fixture
def visual_genome(tmp_path: Path) -> Path:
    folder = tmp_path / "visual_genome"
    folder.mkdir()
    (folder / "image_data.json").write_text(json.dumps(IMAGE_DATA))
    return folder


app = typer.Typer()
app.command()(doctor)


def amc_doctor(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_images_that_visual_genome_has_are_left_out(table: Path, visual_genome: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.parquet"
    done = amc_doctor(table, "--clean", "refcoco_plus", "--against", visual_genome, "--out", out, "--json")
    assert done.exit_code == 0
    assert [each.image_id for each in read_rows(out)] == ["11", "13", "15"]
    assert json.loads(done.stdout)["splits"] == [
        {"split": "val", "images": 2, "kept": 1, "published": 926},
        {"split": "testA", "images": 2, "kept": 1, "published": None},
        {"split": "testB", "images": 1, "kept": 1, "published": None},
        {"split": "testA + testB", "images": 3, "kept": 2, "published": 931},
    ]
    source = read_info(out).source
    assert source == {
        "source": "refcoco_plus",
        "split_by": "unc",
        "images": False,
        "without": str(visual_genome),
    }


def test_lines_for_readers(table: Path, visual_genome: Path, tmp_path: Path) -> None:
    done = amc_doctor(
        table, "--clean", "refcoco_plus", "--against", visual_genome, "--out", tmp_path / "c.parquet"
    )
    assert "testA + testB       3     2        931" in done.stdout.splitlines()


def test_a_clean_table_has_no_leak(table: Path, visual_genome: Path, tmp_path: Path) -> None:
    trained = [row(12, "train"), row(900, "train", "flickr:1", "coco:14"), row(901, "train", "coco:15")]
    other = tmp_path / "vg.parquet"
    write_table(other, trained, source={"source": "visual_genome", "images": False}, baselines=None)
    assert amc_doctor(table, "--against", other).exit_code == 1
    out = tmp_path / "clean.parquet"
    kept = clean_table(table, "refcoco_plus", other, out).kept
    assert kept == {"val": 1, "testA": 1}
    assert amc_doctor(out, "--against", other).exit_code == 0


def test_known_origins_are_the_same_from_file_and_folder(visual_genome: Path, table: Path) -> None:
    expected = {"coco:12", "coco:14", "coco:16", "flickr:700", "flickr:15"}
    assert known_origins(visual_genome) == known_origins(visual_genome / "image_data.json") == expected
    assert known_origins(table) == {f"coco:{i}" for i in range(11, 16)}


def fails(*arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        clean_table(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_input_is_named_and_nothing_written(table: Path, visual_genome: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert "made from refcoco_plus, not from refcoco" in fails(table, "refcoco", visual_genome, out)
    assert "neither a table nor" in fails(table, "refcoco_plus", tmp_path / "none", out)
    assert "neither a table nor" in fails(table, "refcoco_plus", tmp_path, out)
    assert "is the table to be cleaned" in fails(table, "refcoco_plus", visual_genome, table)
    write_table(table, [*ROWS, row(7, "val", "flickr30k:7")], source=SOURCE, baselines=None)
    assert "image 7 has no id in coco or flickr" in fails(table, "refcoco_plus", visual_genome, out)
    write_table(table, [ROWS[1]], source=SOURCE, baselines=None)
    assert "no images" in fails(table, "refcoco_plus", visual_genome, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["refcoco_plus.parquet", "visual_genome"]
