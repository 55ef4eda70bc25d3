"""Visual Genome's four files, made by hand in the official format, and what must come out of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from raw_images import noise
from typer.testing import CliRunner

from amc_models.errors import InputError
from amc_platform.cli.prepare.visual_genome import visual_genome
from amc_platform.data.doctor import examine
from amc_platform.data.material import Material, Pictures
from amc_platform.data.places import Place
from amc_platform.data.sources.visual_genome import Texts, entries, read_visual_genome
from amc_platform.data.table import read_rows

# Image 1, 100 x 100. A brown dog (large) left of a small black one right below; a table; one bad object of each kind.
DOG = {"object_id": 11, "names": ["Dog"], "synsets": ["dog.n.01"], "x": 0, "y": 0, "w": 40, "h": 40}
PUPPY = {"object_id": 12, "names": ["dog."], "synsets": [], "x": 60, "y": 60, "w": 20, "h": 20}
TABLE = {"object_id": 13, "names": ["table"], "synsets": [], "x": -10, "y": 50, "w": 60, "h": 80}
NAMELESS = {"object_id": 14, "names": ["?"], "synsets": [], "x": 0, "y": 0, "w": 50, "h": 50}
OUTSIDE = {"object_id": 15, "names": ["cat"], "synsets": [], "x": 100, "y": 0, "w": 50, "h": 50}
UNBOXED = {"object_id": 16, "names": ["cup"], "synsets": [], "x": None, "y": 0, "w": 50, "h": 50}
OBJECTS = [DOG, PUPPY, {**TABLE, "merged_object_ids": [99]}, NAMELESS, OUTSIDE, UNBOXED]
ATTRIBUTES = [
    {**DOG, "attributes": ["Brown", "brown ", "sitting down"]},
    {**PUPPY, "attributes": ["black"]},
    {**TABLE, "object_id": 99, "names": ["desk"], "attributes": ["made of wood"]},
    {"object_id": 17, "names": ["grass"], "x": 0, "y": 0, "w": 100, "h": 100},
]
REGIONS = [
    {
        "region_id": 1,
        "image_id": 1,
        "phrase": "The  dog is brown. ",
        "x": 0,
        "y": 0,
        "width": 10,
        "height": 10,
    },
    {
        "region_id": 2,
        "image_id": 1,
        "phrase": "The dog is brown.",
        "x": 5,
        "y": 5,
        "width": 200,
        "height": 10,
    },
    {"region_id": 3, "image_id": 1, "phrase": "...", "x": 5, "y": 5, "width": 20, "height": 10},
]


@pytest.fixture
def raw(tmp_path: Path) -> Place:
    files: dict[str, Any] = {
        "image_data": [
            {
                "image_id": 1,
                "width": 100,
                "height": 100,
                "coco_id": 716,
                "flickr_id": None,
                "url": "u/VG_100K/1.jpg",
            },
            {"image_id": 2, "width": 50, "height": 40, "coco_id": None, "flickr_id": 8505158818, "url": "u"},
            {"image_id": 3, "width": 0, "height": 40, "coco_id": None, "flickr_id": None, "url": "u"},
        ],
        # The files need not agree in their order.
        "objects": [{"image_id": 2, "objects": []}, {"image_id": 1, "objects": OBJECTS, "image_url": "u"}],
        "attributes": [{"image_id": 1, "attributes": ATTRIBUTES}, {"image_id": 2, "attributes": []}],
        "region_descriptions": [
            {"id": 1, "regions": REGIONS},
            {"id": 2, "regions": [{**REGIONS[0], "image_id": 2, "phrase": "un café"}]},
        ],
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return Place.of(tmp_path)


def read(raw: Place, texts: Texts, **options: Any) -> Material:
    return read_visual_genome(raw, texts, Pictures(wanted=False), **options)


def said(task: Any) -> dict[tuple[str, str], list[tuple[float, ...]]]:
    return {(phrase.kind, phrase.text): [tuple(box) for box in phrase.boxes] for phrase in task.phrases}


def test_box_texts_by_hand(raw: Place) -> None:
    material = read(raw, "box")
    [task] = material.tasks
    dog = [(0, 0, 40, 40)]
    # Only the large dog is named: the puppy covers 4 %. Both lie apart by 50 px, so the dog is outermost.
    assert said(task) == {
        ("attribute", "a brown dog"): dog,
        ("attribute", "a dog sitting down"): dog,
        ("attribute", "a table made of wood"): [(0, 50, 50, 100)],
        ("object", "grass"): [(0, 0, 100, 100)],
        ("spatial", "dog on the left"): dog,
        ("spatial", "a brown dog to the left"): dog,
        ("spatial", "top dog"): dog,
        ("spatial", "a brown dog to the top"): dog,
        ("spatial", "top left dog"): dog,
        ("spatial", "a brown dog to the top left"): dog,
    }
    assert (task.image_id, task.path, task.width, task.height) == ("1", None, 100, 100)
    assert task.origins == ("coco:716",)
    assert task.also_true == {"a dog", "a black dog", "a table"}
    assert task.counts == {
        **{"images": 1, "objects": 4},
        **{"texts/attribute": 3, "texts/object": 1, "texts/spatial": 6},
        **{"pairs/attribute": 3, "pairs/object": 1, "pairs/spatial": 6},
    }
    assert material.counts == {"images_without_phrases": 1}
    # Seven objects: six of objects.json, whose table owns 99, and the grass that only attributes.json has.
    assert material.seen == {"image": 3, "text": 7, "box": 7}
    assert material.source == {
        "source": "visual_genome",
        "split": ["train"],
        "texts": "box",
        "min_area": 0.08,
    }


def test_what_cannot_be_used_is_rejected_with_its_reason(raw: Place) -> None:
    rejected = read(raw, "both").rejected
    assert [(entry.what, entry.image_id, entry.reason) for entry in rejected] == [
        ("text", "1", "an object without a name"),
        ("box", "1", "empty, or outside the 100 x 100 pixels"),
        ("box", "1", "no numbers x, y, w and h"),
        ("text", "1", "a region description without words"),
        ("image", "3", "no image_id, width and height in image_data.json"),
    ]


def test_region_texts_are_as_written_and_of_any_size(raw: Place) -> None:
    first, second = read(raw, "region").tasks
    assert said(first) == {("region", "The dog is brown."): [(0, 0, 10, 10), (5, 5, 100, 15)]}
    assert first.counts == {"images": 1, "texts/region": 1, "pairs/region": 2}
    assert said(second) == {("region", "un café"): [(0, 0, 10, 10)]}
    assert second.origins == ("flickr:8505158818",)


def test_both_are_box_and_region_texts(raw: Place) -> None:
    tasks = {texts: read(raw, texts).tasks for texts in ("box", "region", "both")}
    assert said(tasks["both"][0]) == said(tasks["box"][0]) | said(tasks["region"][0])
    assert [task.image_id for task in tasks["both"]] == ["1", "2"]


@pytest.mark.parametrize(("min_area", "kept"), [(0.16, True), (0.161, False)])
def test_a_box_of_just_enough_area_stays(raw: Place, min_area: float, kept: bool) -> None:
    [task] = read(raw, "box", min_area=min_area).tasks
    assert (("attribute", "a brown dog") in said(task)) == kept


def test_only_files_that_are_needed_are_read(raw: Place, tmp_path: Path) -> None:
    (tmp_path / "region_descriptions.json").unlink()
    assert len(read(raw, "box").tasks) == 1
    with pytest.raises(InputError, match=r"region_descriptions\.json: no such file"):
        read(raw, "region")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "does not start as a JSON list"),
        ('[{"image_id": 1}, ', "no JSON at byte 18"),
        ('[{"image_id": 1} x]', "no JSON at byte 17"),
        ('[{"picture": 1}]', "byte 1: an entry without image_id"),
        ("[1]", "byte 1: an entry without image_id"),
    ],
)
def test_files_that_are_no_lists_of_images_are_named(raw: Place, content: str, message: str) -> None:
    Path(raw.path, "objects.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read(raw, "box")
    assert str(caught.value).startswith(f"{raw}/objects.json: {message}")
    assert "\n" not in str(caught.value)


def test_images_are_found_in_both_folders_and_missing_ones_rejected(raw: Place, tmp_path: Path) -> None:
    (tmp_path / "VG_100K").mkdir()
    (tmp_path / "VG_100K_2").mkdir()
    (tmp_path / "VG_100K_2" / "1.jpg").touch()
    material = read_visual_genome(raw, "region", Pictures())
    assert [task.path for task in material.tasks] == [str(tmp_path / "VG_100K_2" / "1.jpg")]
    assert [(entry.what, entry.item) for entry in material.rejected if entry.image_id == "2"] == [
        ("image", "2.jpg")
    ]


def test_the_command_writes_a_table_and_prints_the_papers_counts_beside_its_own(
    raw: Place, tmp_path: Path
) -> None:
    for folder, name, size in (("VG_100K", "1.jpg", (100, 100)), ("VG_100K_2", "2.jpg", (50, 40))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(noise(*size))
    app = typer.Typer()
    app.command()(visual_genome)
    out = str(tmp_path / "vg.parquet")
    # Of ten texts and nine boxes some are rejected, which among a million would be too many.
    given = ["--raw", str(raw), "--out", out, "--workers", "1", "--max-rejected", "0.5", "--json"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.exception
    said = json.loads(done.stdout)
    assert said["texts"] == {"attribute": 3, "object": 1, "spatial": 6, "region": 2}
    assert said["pairs"] == {"attribute": 3, "object": 1, "spatial": 6, "region": 3}
    assert said["published"] == [
        {"split": "train", "what": "attribute", "here": 3, "published": 924_807},
        {"split": "train", "what": "spatial", "here": 6, "published": 168_442},
    ]
    assert [said["rejected"][what] for what in ("images", "texts", "boxes")] == [1, 2, 2]
    assert [(each.image_id, each.origins) for each in read_rows(out)] == [
        ("1", ("coco:716",)),
        ("2", ("flickr:8505158818",)),
    ]
    assert examine(out).fine


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_entries_are_the_same_however_the_file_is_cut(
    raw: Place, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = raw.join("region_descriptions.json")
    whole = [entry for *_, entry in entries.scan(place)]
    monkeypatch.setattr(entries, "CHUNK_BYTES", chunk)
    assert [entry for *_, entry in entries.scan(place)] == whole
    assert entries.Entries(place).get(2)["regions"][0]["phrase"] == "un café"
    assert entries.Entries(place).get(3) == {}
