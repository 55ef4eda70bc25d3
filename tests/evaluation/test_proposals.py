import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.evaluation.proposals import BestBoxes, Proposals

RED = Phrase("red", (Box(0, 0, 9, 9),), "", "", "val", False)


def row(image_id: str, *origins: str) -> ImageRow:
    return ImageRow(image_id, b"", 10, 10, (RED,), frozenset(), origins)


def written(folder: Path, value: Any) -> Path:
    path = folder / "dets.json"
    path.write_text(json.dumps(value))
    return path


def test_boxes_of_mattnet_are_corner_and_size(tmp_path: Path) -> None:
    entries = [
        {"det_id": 0, "image_id": 716, "category_id": 1, "score": 0.9, "box": [1, 2, 3, 4]},
        {"det_id": 1, "image_id": 5, "category_id": 1, "score": 0.8, "box": [0, 0, 1.5, 1]},
        {"det_id": 2, "image_id": 716, "category_id": 2, "score": 0.7, "box": [5, 5, 1, 1]},
    ]
    proposals = Proposals.read(written(tmp_path, entries))
    assert proposals.of(row("716")) == [Box(1, 2, 4, 6), Box(5, 5, 6, 6)]
    assert proposals.of(row("vg/12", "flickr:3", "coco:5")) == [Box(0, 0, 1.5, 1)]
    assert proposals.of(row("1")) == ()
    proposals.check([row("1"), row("716")])
    with pytest.raises(
        InputError, match=r"no box is of an image of the table .image 1 for one; the boxes are of 716, 5"
    ):
        proposals.check([row("1")])


def test_parquet_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "dets.parquet"
    parquet.write_table(pa.table({"image_id": [716], "box": [[1.0, 2.0, 3.0, 4.0]], "text": ["red"]}), path)
    assert Proposals.read(path).of(row("716")) == [Box(1, 2, 4, 6)]
    assert BestBoxes.read(path).of(row("716"), RED) == Box(1, 2, 4, 6)


def test_a_detector_may_give_no_box(tmp_path: Path) -> None:
    boxes = BestBoxes.read(written(tmp_path, [{"image_id": "716", "text": "blue", "box": [1, 2, 3, 4]}]))
    assert boxes.of(row("716"), RED) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"716": []}, "must be a list of boxes"),
        ([{"box": [1, 2, 3, 4]}], "entry 0: image_id: missing"),
        ([{"image_id": 1, "box": [1, 2, 3]}], "entry 0: box: must be"),
        ([{"image_id": 1, "box": "large"}], "entry 0: box: must be"),
        ([{"image_id": 1, "box": [1, 2, 3, float("nan")]}], "entry 0: box: must be"),
        ([{"image_id": 1, "box": [1, 2, 3, 4]}], "image 1: text: missing"),
        (
            [{"image_id": 1, "text": "red", "box": [1, 2, 3, edge]} for edge in (4, 5)],
            "image 1: two boxes for 'red'; keep the best",
        ),
    ],
)
def test_what_is_no_list_of_boxes_is_said(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BestBoxes.read(written(tmp_path, value))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for name in ("dets.json", "dets.parquet"):
        (tmp_path / name).write_text("no boxes")
        with pytest.raises(InputError, match=f"{name}: cannot be read as boxes"):
            Proposals.read(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read as boxes"):
        Proposals.read(tmp_path / "gone.json")
