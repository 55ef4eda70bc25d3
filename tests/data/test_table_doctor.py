"""`amc doctor TABLE`: each fault is planted in a table that is fine, and exactly it is found."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image
from raw_images import noise
from typer.testing import CliRunner, Result

from amc_models.errors import InputError
from amc_platform.cli.doctor import doctor
from amc_platform.data.boxes import Box
from amc_platform.data.doctor import examine
from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.published_counts import Comparison
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.table import write_table

WIDTH, HEIGHT = 64, 48
SOURCE = {"source": "noise", "images": True}


def say(text: str, *boxes: Box, split: str = "train") -> Phrase:
    return Phrase(text, boxes or (Box(1, 2, 30, 40),), "entity", "", split, False)


def row(image_id: str, split: str, seed: int, origins: tuple[str, ...] = ()) -> ImageRow:
    """An image of noise; another seed makes another picture."""
    image = noise(WIDTH, HEIGHT, seed)
    phrases = (say("a dog", split=split), say("a cat", Box(0, 0, WIDTH, HEIGHT), split=split))
    return ImageRow(image_id, image, WIDTH, HEIGHT, phrases, frozenset(), origins)


def again(image: bytes, size: tuple[int, int], quality: int = 70) -> bytes:
    """The same picture in another size and compression."""
    stored = io.BytesIO()
    Image.open(io.BytesIO(image)).resize(size).save(stored, "JPEG", quality=quality)
    return stored.getvalue()


FINE = [
    row("1", "train", 1, ("coco:1",)),
    row("2", "train", 2),
    row("3", "val", 3, ("coco:3",)),
    row("4", "test", 4),
]


def first(**changes: Any) -> list[ImageRow]:
    return [replace(FINE[0], **changes), *FINE[1:]]


def table(path: Path, rows: list[ImageRow], **source: Any) -> Path:
    write_table(path, rows, source={**SOURCE, **source}, baselines=None)
    return path


def found(report: Any) -> dict[str, tuple[int, list[str]]]:
    return {finding.check: (finding.count, finding.examples) for finding in report.findings if finding.count}


def test_a_table_without_faults_is_fine(tmp_path: Path) -> None:
    report = examine(table(tmp_path / "t.parquet", FINE))
    assert found(report) == {}
    assert report.fine


def with_phrases(*phrases: Phrase) -> list[ImageRow]:
    return first(phrases=(FINE[0].phrases[0], *phrases))


NAN = float("nan")
FAULTS: dict[str, tuple[list[ImageRow], str]] = {
    "boxes outside the image": (
        with_phrases(say("far", Box(60, 0, 64.5, 9)), say("near", Box(-1, 0, 5, 5))),
        "'far' of image 1 [60, 0, 64.5, 9] of 64 x 48",
    ),
    "empty boxes": (
        with_phrases(say("a line", Box(3, 3, 3, 9)), say("odd", Box(NAN, 0, 5, 5))),
        "'a line' of image 1 [3, 3, 3, 9]",
    ),
    "phrases without boxes": (
        with_phrases(replace(say("nothing"), boxes=()), replace(say("no one"), boxes=())),
        "'nothing' of image 1",
    ),
    "phrases without text": (with_phrases(say(""), say(" ", Box(0, 0, 5, 5))), "image 1"),
    "missing images": ([replace(FINE[0], image=b""), replace(FINE[1], image=b""), *FINE[2:]], "image 1"),
    "unreadable images": (
        [replace(FINE[0], image=FINE[0].image[:-300]), replace(FINE[1], image=b"GIF89a"), *FINE[2:]],
        "image 1: OSError: image file is truncated",
    ),
    "images of another size": (
        [replace(FINE[0], image=again(FINE[0].image, (48, 64))), replace(FINE[1], width=128), *FINE[2:]],
        "image 1 is 48 x 64, its boxes are of 64 x 48",
    ),
    "repeated image ids": (
        [*FINE, replace(row("2", "train", 5)), replace(row("1", "train", 6))],
        "image 1 in 2 rows",
    ),
    "splits sharing images": (
        # One row with phrases of two splits, and the same photo under its COCO id.
        [
            replace(FINE[0], phrases=(say("a dog"), say("a cat", split="testA"))),
            FINE[1],
            FINE[2],
            replace(FINE[3], origins=("coco:3",)),
        ],
        "train and testA: image 1",
    ),
    "splits with images that look alike": (
        [*FINE, replace(row("5", "train", 0), image=again(FINE[3].image, (64, 48))), row("6", "val", 2)],
        "train and val: image 2 and 6",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tmp_path: Path, fault: str) -> None:
    rows, example = FAULTS[fault]
    report = examine(table(tmp_path / "t.parquet", rows))
    assert set(found(report)) == {fault}
    count, examples = found(report)[fault]
    assert count == 2
    assert examples[0].startswith(example)
    assert not report.fine


NOTES = {
    "repeated phrases": (with_phrases(FINE[0].phrases[0]), "'a dog' of image 1, 2 times"),
    "texts with several meanings": (with_phrases(say("a dog", Box(0, 0, 5, 5))), "'a dog' of image 1"),
    "images that look alike in a split": ([*FINE, row("5", "train", 1)], "train: images 1, 5"),
}


@pytest.mark.parametrize("note", NOTES)
def test_what_published_data_do_is_noted_and_fine(tmp_path: Path, note: str) -> None:
    rows, example = NOTES[note]
    report = examine(table(tmp_path / "t.parquet", rows))
    assert found(report) == {note: (1, [example])}
    assert report.fine


@pytest.mark.parametrize(
    ("size", "right"), [((32, 24), True), ((40, 40), True), ((45, 34), True), ((40, 24), False)]
)
def test_images_may_be_stored_smaller_or_square(tmp_path: Path, size: tuple[int, int], right: bool) -> None:
    rows = first(image=again(FINE[0].image, size))
    assert examine(table(tmp_path / "t.parquet", rows)).fine == right


def test_a_table_of_annotations_misses_no_images(tmp_path: Path) -> None:
    rows = [replace(each, image=b"") for each in FINE]
    assert found(examine(table(tmp_path / "t.parquet", rows, images=False))) == {}


def test_metadata_that_differ_from_the_rows_are_found(tmp_path: Path) -> None:
    table(tmp_path / "other.parquet", FINE[:3])
    path = table(tmp_path / "t.parquet", FINE)
    metadata = pq.read_metadata(tmp_path / "other.parquet").metadata
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    count, examples = found(examine(path))["metadata that differ from the rows"]
    assert count == 2
    assert examples[0] == "the counts are not those of the rows"
    assert examples[1].startswith("the content hash ")


def test_images_without_phrases_are_found(tmp_path: Path) -> None:
    rows = [*FINE, replace(row("5", "train", 5), phrases=())]
    count, examples = found(examine(table(tmp_path / "t.parquet", rows)))[
        "metadata that differ from the rows"
    ]
    assert examples[0] == "1 rows have no phrase"
    assert count == 3


TRAINED = "images trained on in one table and tested on in the other"
ALIKE = "images of both tables that look alike"


def test_against_another_table_ids_of_collections_and_looks_count(tmp_path: Path) -> None:
    other = [
        row("1", "val", 11),  # image 1 of another source is another image
        row("a", "val", 12, ("coco:1",)),
        row("b", "train", 13, ("coco:3",)),
        row("c", "train", 2),  # trained on in both: no leak
        replace(row("d", "train", 0), image=again(FINE[3].image, (64, 48))),
    ]
    against = table(tmp_path / "o.parquet", other, source="other")
    report = examine(table(tmp_path / "t.parquet", FINE), against)
    assert found(report) == {
        TRAINED: (2, [f"train and {against}:val: image 1 and a", f"val and {against}:train: image 3 and b"]),
        ALIKE: (1, [f"test and {against}:train: image 4 and d"]),
    }
    assert not report.fine


def test_against_a_table_of_the_same_source_image_ids_count(tmp_path: Path) -> None:
    against = table(tmp_path / "o.parquet", [row("4", "train", 20)])
    report = examine(table(tmp_path / "t.parquet", FINE), against)
    assert found(report) == {TRAINED: (1, [f"test and {against}:train: image 4"])}


def test_generated_scenes_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "scenes.parquet"
    prepare_scenes(path, train=150, val=20, test=60, unseen=20, iconic=60, workers=1)
    report = examine(path)
    assert found(report) == {}


def test_published_counts_stand_beside_the_tables_own(tmp_path: Path) -> None:
    rows = [replace(FINE[0], phrases=(say("a dog"), replace(say("top dog"), kind="spatial")))]
    assert examine(table(tmp_path / "t.parquet", rows, source="visual_genome")).published == [
        Comparison("train", "spatial", 1, 168_442)
    ]
    rows = [FINE[2]]
    published = [Comparison("val", "images", 1, 1_500), Comparison("val", "phrases", 2, 10_758)]
    for split_by, expected in (("unc", published), ("google", [])):
        path = table(tmp_path / "t.parquet", rows, source="refcoco_plus", split_by=split_by)
        assert examine(path).published == expected


app = typer.Typer()
app.command()(doctor)


def amc(*arguments: object) -> Result:
    """`amc doctor` in this process; what `main` says of an InputError is tested with `main`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_counts_faults_and_remedies(tmp_path: Path) -> None:
    fine = table(tmp_path / "fine.parquet", FINE, source="refcoco_plus", split_by="unc")
    done = amc(fine)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{fine}: 4 images of refcoco_plus, content ")
    assert "train phrases     4    120,191" in lines
    assert lines[-1] == "fine: nothing wrong by 14 checks"
    done = amc(table(tmp_path / "t.parquet", FAULTS["empty boxes"][0]))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-2:] == [
        "wrong: 2 empty boxes: 'a line' of image 1 [3, 3, 3, 9]; 'odd' of image 1 [nan, 0, 5, 5]",
        "  prepare the table again: it leaves them out and lists them",
    ]


def test_json_holds_every_check(tmp_path: Path) -> None:
    done = amc(table(tmp_path / "t.parquet", FAULTS["empty boxes"][0]), "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert (said["kind"], said["fine"], said["counts"]["images"]) == ("table", False, 4)
    assert len(said["findings"]) == 14
    assert [each["check"] for each in said["findings"] if each["count"]] == ["empty boxes"]


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", FINE)
    damaged = bytearray(path.read_bytes())
    damaged[200:2000] = bytes(1800)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="row group 0 is damaged") as caught:
        examine(path)
    assert "\n" not in str(caught.value)
    assert isinstance(amc(tmp_path / "none.parquet").exception, InputError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("t.parquet", "--image-size", "64"), "--image-size: is about checkpoints"),
        (("t.parquet", "--out", "x"), "--out: has an effect with --clean only"),
        (("t.parquet", "--clean", "refcoco_plus"), "--clean: needs --against"),
        (("spec.yaml", "--against", "t.parquet"), "--against: is about tables"),
    ],
)
def test_options_without_effect_are_refused(arguments: tuple[str, ...], message: str) -> None:
    error = amc(*arguments).exception
    assert isinstance(error, InputError)
    assert str(error).startswith(message)
