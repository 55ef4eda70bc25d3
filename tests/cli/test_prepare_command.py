"""`amc prepare SOURCE` as a user gives it: what it prints, where, and how it ends."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from amc_models.errors import InputError
from amc_platform.cli.prepare.options import read_options
from amc_platform.data.table import read_info, read_rows

Prepare = Callable[..., subprocess.CompletedProcess[str]]
SIZE = "<size><width>100</width><height>80</height></size>"
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>50</xmax><ymax>60</ymax></bndbox>"


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Run `amc prepare` in a folder with raw files of Flickr30k Entities: images 0 to 9 without photos."""
    for folder in ("Sentences", "Annotations", "flickr30k-images"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    for i in range(10):
        (tmp_path / "raw" / "Sentences" / f"{i}.txt").write_text("[/EN#1/people A man] stands .")
        xml = f"<annotation>{SIZE}<object><name>1</name>{BOX}</object></annotation>"
        (tmp_path / "raw" / "Annotations" / f"{i}.xml").write_text(xml)
    (tmp_path / "raw" / "val.txt").write_text("\n".join("0123456789"))
    (tmp_path / "raw" / "flickr30k-images" / "readme").touch()

    def run(*arguments: str, source: str = "flickr30k-entities") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "amc"), "prepare", source, *arguments],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_json_is_one_line_and_alone_on_standard_output(prepare: Prepare, tmp_path: Path) -> None:
    options = ("--raw", "raw", "--split", "val", "--out", "t.parquet", "--no-images", "--json")
    done = prepare(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    said = json.loads(done.stdout)
    assert {name: said[name] for name in list(said)[:6]} == {
        "images": 10,
        "sentences": 10,
        "sentences_with_boxes": 10,
        "phrases": 10,
        "phrases_with_boxes": 10,
        "boxes": 10,
    }
    assert said["categories"]["people"] == 10
    assert said["rejected"] == {"images": 0, "texts": 0, "boxes": 0, "file": "t.rejected.parquet"}
    assert said["content_hash"] == read_info(tmp_path / "t.parquet").content_hash
    assert "images: 10 of 10" in done.stderr
    again = prepare(*options)
    assert again.stdout == done.stdout
    assert "t.parquet: was there and is left as it is" in again.stderr


def test_people_get_a_table(prepare: Prepare) -> None:
    done = prepare("--raw", "raw", "--out", "t.parquet", "--no-images")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("t.parquet: 10 images, content ")
    assert ["categories", "people", "10"] in [line.split() for line in lines]


def test_too_many_rejected_leaves_with_1_and_says_where_they_are_listed(
    prepare: Prepare, tmp_path: Path
) -> None:
    done = prepare("--raw", "raw", "--out", "t.parquet", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(
        "amc: 10 of 10 images cannot be used (100.00%, --max-rejected allows 0.10%): image 0, "
    )
    assert "all are listed in t.rejected.parquet" in line
    assert pq.read_table(tmp_path / "t.rejected.parquet").column("image_id").to_pylist() == list("0123456789")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quality", "80"], "--quality has no effect without --image-size"),
        (["--split", "vall", "--no-images"], "vall.txt: no such file"),
        (["--max-rejected", "2"], "Invalid value for '--max-rejected'"),
    ],
)
def test_wrong_input_leaves_with_2(
    prepare: Prepare, tmp_path: Path, options: list[str], message: str
) -> None:
    done = prepare("--raw", "raw", "--out", "t", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "square"}, "--fit has no effect without --image-size"),
        ({"image_size": 64, "no_images": True}, "--image-size has no effect with --no-images"),
        ({"only_present": True, "no_images": True}, "--only-present has no effect with --no-images"),
        ({"on_ray": True, "no_images": True}, "--on-ray has no effect with --no-images"),
        ({"workers": 2, "no_images": True}, "--workers has no effect with --no-images"),
    ],
)
def test_an_option_without_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_options("t", **options)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("flickr30k-entities", {"--raw", "--split", "--images"}),
        ("refcoco", {"--raw", "--dataset", "--split-by", "--split", "--images"}),
        ("referit", {"--raw", "--split-by", "--split", "--images"}),
        ("coco", {"--raw", "--template", "--split", "--images"}),
    ],
)
def test_every_source_has_its_own_options_and_the_shared_ones(
    prepare: Prepare, source: str, options: set[str]
) -> None:
    shared = "--out --image-size --fit --quality --no-images --only-present --shard-mb --workers --on-ray"
    wanted = options | {"--max-rejected", "--json", *shared.split()}
    assert wanted <= set(prepare("--help", source=source).stdout.split())


def test_refcoco_referit_and_coco_from_the_command_line(prepare: Prepare, tmp_path: Path) -> None:
    import pickle

    image = {"id": 5, "file_name": "5.jpg", "width": 50, "height": 40}
    annotation = {"id": 8, "image_id": 5, "bbox": [1, 2, 10, 20], "category_id": 1}
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "dog"}]}
    ref = {"ref_id": 0, "ann_id": 8, "image_id": 5, "split": "val", "sentences": [{"sent": "the dog"}]}
    (tmp_path / "raw" / "instances.json").write_text(json.dumps(content))
    (tmp_path / "raw" / "instances_val2017.json").write_text(json.dumps(content))
    for name in ("refs(google).p", "refs(berkeley).p"):
        (tmp_path / "raw" / name).write_bytes(pickle.dumps([ref]))
    for source, options, text in (
        ("refcoco", ["--dataset", "refcocog", "--split-by", "google"], "the dog"),
        ("referit", [], "the dog"),
        ("coco", ["--template", "{} here"], "dog here"),
    ):
        done = prepare("--raw", "raw", "--out", source, "--no-images", "--json", *options, source=source)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["images"] == 1
        assert [phrase.text for row in read_rows(tmp_path / source) for phrase in row.phrases] == [text]
