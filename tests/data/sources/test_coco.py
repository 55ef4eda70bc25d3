from pathlib import Path
from typing import Any

import pytest
from official_files import write_instances

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import Pictures
from amc_platform.data.rows import Phrase
from amc_platform.data.shards import Writing, prepare_material
from amc_platform.data.sources.coco import TEMPLATE, label_text, read_coco

NO_PICTURES = Pictures(wanted=False)


def annotation(
    number: int, image_id: int, category: int, box: tuple[float, ...], crowd: int = 0
) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "bbox": list(box),
        "iscrowd": crowd,
        "segmentation": [[1, 2, 3, 4]],
    }


ANNOTATIONS = [
    annotation(1, 9, 1, (10, 20, 30, 40)),
    annotation(2, 9, 2, (0, 0, 5, 5)),
    annotation(3, 9, 1, (300, 300, 100, 50)),
    annotation(4, 9, 1, (0, 0, 640, 640), crowd=1),
    annotation(5, 9, 3, (0, 0, 640, 640), crowd=1),
    annotation(6, 12, 1, (0, 0, 0, 10)),
    annotation(7, 12, 44, (0, 0, 10, 10)),
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    images = {9: "000000000009.jpg", 12: "000000000012.jpg"}
    write_instances(tmp_path / "annotations" / "instances_val2017.json", images, ANNOTATIONS)
    return tmp_path


def test_a_label_is_a_text_about_all_objects_of_its_category(raw: Path) -> None:
    material = read_coco(raw, [], TEMPLATE, NO_PICTURES)
    first, second = material.tasks
    assert first.phrases == (
        Phrase(
            "an image of a dog",
            (Box(10, 20, 40, 60), Box(300, 300, 400, 350)),
            "category",
            "",
            "val2017",
            False,
        ),
        Phrase("an image of an apple", (Box(0, 0, 5, 5),), "category", "", "val2017", False),
    )
    # A crowd gives no box, but its label is true of the image.
    assert first.also_true == {"an image of a skis"}
    assert (first.image_id, first.origins) == ("9", ("coco:9",))
    assert second.phrases == ()
    assert [(entry.what, entry.image_id, entry.item) for entry in material.rejected] == [
        ("box", "12", "[0, 0, 0, 10]"),
        ("text", "12", "annotation 7"),
    ]


def test_counts_by_hand(raw: Path, tmp_path: Path) -> None:
    material = read_coco(raw / "annotations", ["val2017"], TEMPLATE, NO_PICTURES)
    assert material.seen == {"image": 2, "box": 4, "text": 4}
    prepared = prepare_material(material, tmp_path / "t", Writing(max_rejected=0.25))
    assert prepared.counts == {
        "images": 2,
        "boxes": 3,
        "texts": 2,
        "crowds_left_out": 2,
        "images_without_phrases": 1,
    }


@pytest.mark.parametrize(
    ("template", "label", "text"),
    [
        (TEMPLATE, "umbrella", "an image of an umbrella"),
        (TEMPLATE, "traffic light", "an image of a traffic light"),
        ("A {} on a photo", "elephant", "An elephant on a photo"),
        ("{}", "apple", "apple"),
        ("banana {}", "apple", "banana apple"),
    ],
)
def test_texts_of_labels(template: str, label: str, text: str) -> None:
    assert label_text(template, label) == text


@pytest.mark.parametrize(
    ("splits", "template", "message"),
    [
        (["val2014"], TEMPLATE, r"no instances_val2014\.json; it holds instances_val2017\.json"),
        ([], "an image of a dog", r"--template: 'an image of a dog'; write \{\} once"),
    ],
)
def test_wrong_wishes_are_one_line(raw: Path, splits: list[str], template: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_coco(raw, splits, template, NO_PICTURES)


def test_no_file_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no instances_\*\.json; it holds no such file"):
        read_coco(tmp_path, [], TEMPLATE, NO_PICTURES)


def test_images_lie_in_the_folder_of_their_split(raw: Path) -> None:
    (raw / "val2017").mkdir()
    for name in ("000000000009.jpg", "000000000012.jpg"):
        (raw / "val2017" / name).touch()
    tasks = read_coco(raw, [], TEMPLATE, Pictures()).tasks
    assert [task.path for task in tasks] == [
        str(raw / "val2017" / f"0000000000{number}.jpg") for number in ("09", "12")
    ]
