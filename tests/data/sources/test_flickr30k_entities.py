from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_files import boxed, unboxed, write_entities

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import ImageTask, Material, Pictures
from amc_platform.data.rows import Phrase
from amc_platform.data.shards import Writing, prepare_material
from amc_platform.data.sources.flickr30k_entities import marked_phrases, read_flickr30k_entities
from amc_platform.data.table import read_rows

NO_PICTURES = Pictures(wanted=False)
SENTENCES = """[/EN#1/people Two  men] with [/EN#2/clothing/people red hats] in [/EN#3/scene a park] .
[/EN#0/notvisual It] is [/EN#4/other a nice day] .
[/EN#1/people They] see nothing .
"""
OBJECTS = (
    boxed("1", box=(1, 1, 50, 80))
    + boxed("1", "2", box=(41, 11, 100, 80))
    + unboxed("3", scene=1)
    + unboxed("4", scene=0)
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """One image with two men in hats."""
    write_entities(tmp_path, "7", SENTENCES, OBJECTS)
    (tmp_path / "val.txt").write_text("7\n")
    return tmp_path


def test_phrases_carry_all_boxes_of_their_chain(raw: Path) -> None:
    task = read_flickr30k_entities(raw, ["val"], NO_PICTURES).tasks[0]
    # The XML counts pixels from 1, both corners belonging to the box.
    left, right = Box(0, 0, 50, 80), Box(40, 10, 100, 80)
    assert task == ImageTask(
        "7",
        None,
        100,
        80,
        (
            Phrase("Two men", (left, right), "entity", "people", "val", False),
            Phrase("red hats", (right,), "entity", "clothing/people", "val", False),
            Phrase("They", (left, right), "entity", "people", "val", False),
        ),
        frozenset({"a park", "a nice day"}),
        ("flickr:7",),
        task.counts,
    )


def test_counts_by_hand(raw: Path, tmp_path: Path) -> None:
    material = read_flickr30k_entities(raw, [], NO_PICTURES)
    assert material.source == {"source": "flickr30k_entities", "split": ["val"]}
    assert material.seen == {"image": 1, "text": 6, "box": 2}
    counts = prepare_material(material, tmp_path / "t", Writing()).counts
    assert counts == {
        "images": 1,
        "sentences": 3,
        "sentences_with_boxes": 2,
        "phrases": 6,
        "phrases_with_boxes": 3,
        "boxes": 2,
        # A phrase of two categories counts in both.
        "categories": {
            "people": 3,
            "clothing": 1,
            "bodyparts": 0,
            "animals": 0,
            "vehicles": 0,
            "instruments": 0,
            "scene": 0,
            "other": 0,
        },
        "unboxed": {"scene": 1, "not_visual": 1, "no_box": 1},
    }


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="[]"), min_size=1)
marks = st.tuples(
    st.integers(0, 99999).map(str), st.sampled_from(["people", "animals/people"]), st.lists(words, min_size=1)
)


@given(st.lists(st.tuples(words, marks), max_size=5))
def test_what_is_marked_is_found_again(said: list[tuple[str, tuple[str, str, list[str]]]]) -> None:
    sentence = " ".join(
        f"{before} [/EN#{chain}/{category} {'  '.join(text)}]" for before, (chain, category, text) in said
    )
    material = Material({})
    assert marked_phrases("7", sentence, material) == [
        (chain, category, " ".join(text)) for _, (chain, category, text) in said
    ]
    assert material.rejected == []


@pytest.mark.parametrize(
    ("sentence", "texts", "reason"),
    [
        ("[/EN#1/people A man] [/EN#x/people a dog]", ["A man"], "a mark that is not"),
        ("[/EN#1/people A man", [], "a mark that is not"),
        ("[/EN#1/people  ]", [], "a marked phrase without words"),
        ("[/EN#1 A man]", [], "a mark that is not"),
    ],
)
def test_a_bad_mark_is_rejected_alone(sentence: str, texts: list[str], reason: str) -> None:
    material = Material({})
    assert [text for _, _, text in marked_phrases("7", sentence, material)] == texts
    assert [entry[:3] for entry in material.rejected] == [("text", "7", sentence)]
    assert material.rejected[0].reason.startswith(reason)


def test_a_bad_box_is_rejected_alone(raw: Path) -> None:
    objects = (
        OBJECTS
        + boxed("1", box=(101, 1, 120, 80))
        + boxed("2", box=("x", 1, 2, 3))
        + boxed("2", box=(9, 9, 8, 20))
    )
    write_entities(raw, "7", SENTENCES, objects)
    material = read_flickr30k_entities(raw, ["val"], NO_PICTURES)
    assert material.tasks[0].counts["boxes"] == 2
    assert material.seen["box"] == 5
    reasons = sorted((entry.what, entry.item, entry.reason) for entry in material.rejected)
    # The last one ends a pixel before it starts, which would be a box one pixel wide counted from 0.
    assert reasons == [
        ("box", "[100, 0, 120, 80]", "empty, or outside the 100 x 80 pixels"),
        ("box", "[8, 8, 8, 20]", "empty, or outside the 100 x 80 pixels"),
        ("box", "x 1 2 3", "no numbers xmin, ymin, xmax, ymax"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Annotations/7.xml", b"<annotation><size>"),
        ("Annotations/7.xml", b"<annotation></annotation>"),
        ("Sentences/7.txt", b"[/EN#1/people A \xff man]"),
    ],
)
def test_an_image_with_a_damaged_file_is_rejected_alone(raw: Path, name: str, content: bytes) -> None:
    write_entities(raw, "8", SENTENCES, OBJECTS)
    (raw / "val.txt").write_text("7 8 9 8")
    (raw / name).write_bytes(content)
    material = read_flickr30k_entities(raw, ["val"], NO_PICTURES)
    assert [task.image_id for task in material.tasks] == ["8"]
    assert [(entry.what, entry.image_id) for entry in material.rejected] == [("image", i) for i in "798"]
    assert material.rejected[0].reason.startswith("cannot be read")
    assert material.rejected[1].reason.endswith("9.txt: no such file; check the address")
    assert material.rejected[2].reason == "listed twice"
    assert material.seen["image"] == 4


def test_a_missing_photo_is_rejected_or_left_out(raw: Path) -> None:
    write_entities(raw, "8", SENTENCES, OBJECTS)
    (raw / "val.txt").write_text("7\n8\n")
    with pytest.raises(InputError, match=r"flickr30k-images and .*: no images there; .* --no-images"):
        read_flickr30k_entities(raw, ["val"], Pictures())
    (raw / "flickr30k-images").mkdir()
    (raw / "flickr30k-images" / "8.jpg").write_bytes(b"jpg")
    material = read_flickr30k_entities(raw, ["val"], Pictures())
    assert [task.path for task in material.tasks] == [str(raw / "flickr30k-images" / "8.jpg")]
    assert [tuple(entry) for entry in material.rejected] == [
        ("image", "7", "7.jpg", f"no such file in {raw}/flickr30k-images")
    ]
    material = read_flickr30k_entities(raw, ["val"], Pictures(only_present=True))
    assert (len(material.tasks), material.rejected, material.counts) == (1, [], {"images_left_out": 1})
    material = read_flickr30k_entities(raw, ["val"], Pictures(), images=raw / "flickr30k-images")
    assert len(material.tasks) == 1


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda raw: (raw / "val.txt").unlink(), r"none of train\.txt, val\.txt, test\.txt"),
        (lambda raw: (raw / "Sentences").rename(raw / "S"), "Sentences: no such folder; --raw is the folder"),
        (
            lambda raw: ((raw / "Annotations").rename(raw / "A"), (raw / "annotations.zip").touch()),
            r"Annotations: no such folder; unpack annotations\.zip there",
        ),
    ],
)
def test_another_layout_is_one_line_with_a_remedy(raw: Path, prepare: object, message: str) -> None:
    prepare(raw)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        read_flickr30k_entities(raw, [], NO_PICTURES)


def test_val_has_the_published_counts(flickr_raw: Path, tmp_path: Path) -> None:
    material = read_flickr30k_entities(flickr_raw, ["val"], NO_PICTURES)
    prepared = prepare_material(material, tmp_path / "t", Writing())
    facts = ("images", "sentences", "sentences_with_boxes", "phrases", "phrases_with_boxes", "boxes")
    assert {name: prepared.counts[name] for name in facts} == {
        "images": 1000,
        "sentences": 5000,
        "sentences_with_boxes": 4986,
        "phrases": 17728,
        "phrases_with_boxes": 14433,
        "boxes": 8595,
    }
    # 89 phrases with boxes have two categories.
    assert sum(prepared.counts["categories"].values()) == 14433 + 89
    assert sum(prepared.counts["unboxed"].values()) == 17728 - 14433
    assert prepared.rejected == {"images": 0, "texts": 0, "boxes": 0}
    rows = read_rows(tmp_path / "t")
    assert len(rows) == 1000
    assert sum(len(row.phrases) for row in rows) == 14433
    assert sum(len(phrase.categories) for row in rows for phrase in row.phrases) == 14433 + 89


def test_real_photos_fit_their_annotations(flickr_raw: Path, tmp_path: Path) -> None:
    pictures = Pictures(only_present=True)
    for split, images, boxed_phrases in (("val", 31, 433), ("train", 932, 12772)):
        material = read_flickr30k_entities(flickr_raw, [split], pictures)
        prepared = prepare_material(material, tmp_path / split, Writing(workers=1))
        assert prepared.counts["images"] == prepared.info.counts["images"] == images
        assert prepared.counts["phrases_with_boxes"] == boxed_phrases
        assert prepared.rejected == {"images": 0, "texts": 0, "boxes": 0}
    row = read_rows(tmp_path / "val")[0]
    assert row.image == (flickr_raw / "flickr30k-images" / f"{row.image_id}.jpg").read_bytes()
