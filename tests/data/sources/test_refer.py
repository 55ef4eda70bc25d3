import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from official_files import Expression, shared_expression, write_instances, write_refer
from PIL import Image

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import Pictures
from amc_platform.data.places import Place
from amc_platform.data.rows import Phrase
from amc_platform.data.shards import Writing, prepare_material
from amc_platform.data.sources.pickles import read_pickle
from amc_platform.data.sources.refer import read_refer
from amc_platform.data.table import read_rows

NO_PICTURES = Pictures(wanted=False)
TRAIN, VAL = "COCO_train2014_000000000716.jpg", "COCO_train2014_000000000309.jpg"
SAID = [
    Expression(VAL, 11, (10, 20, 30.5, 40), "left  man", "testA"),
    Expression(VAL, 11, (10, 20, 30.5, 40), "guy", "testA"),
    Expression(TRAIN, 12, (0, 0, 640, 640), "all of it", "train"),
    Expression(VAL, 13, (600, 600, 41, 50), "corner", "testB"),
]


def written(path: Path, content: bytes) -> Place:
    path.write_bytes(content)
    return Place.of(path)


def test_plain_data_are_read_whatever_the_protocol(tmp_path: Path) -> None:
    data = [{"id": 1, "b": [1.5, None, True], "t": ("x", "größe"), "big": 2**70}]
    for protocol in range(6):
        assert read_pickle(written(tmp_path / "d.p", pickle.dumps(data, protocol))) == data
    # Older protocols write these as calls.
    for protocol in (4, 5):
        assert read_pickle(written(tmp_path / "d.p", pickle.dumps([{1, 2}, b"x"], protocol))) == [
            {1, 2},
            b"x",
        ]


def test_strings_of_python_2_are_utf8(tmp_path: Path) -> None:
    # ['café', a byte that is no UTF-8], as Python 2 writes its own strings.
    content = b"\x80\x02](U\x05caf\xc3\xa9U\x01\xffe."
    assert read_pickle(written(tmp_path / "d.p", content)) == ["café", "\udcff"]


class Malicious:
    """Runs a command where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (eval, (f"__import__('pathlib').Path({str(self.trace)!r}).touch()",))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    content = pickle.dumps([{"split": "val", "sentences": Malicious(trace)}], protocol)
    pickle.loads(content).clear()
    assert trace.exists()  # it would
    trace.unlink()
    with pytest.raises(
        InputError, match=r"d\.p: holds (__builtin__|builtins)\.eval, which could run code"
    ) as caught:
        read_pickle(written(tmp_path / "d.p", content))
    assert not trace.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # protocol 0 by hand
        b"\x80\x02}q\x00cbuiltins\nexec\nq\x01X\x01\x00\x00\x00xq\x02\x85q\x03Rq\x04.",
        b"(S'x'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x82\x01.",  # EXT1
        b"Pid\n.",  # PERSID
        pickle.dumps(Path("x")),
        pickle.dumps(range(3)),
    ],
)
def test_every_way_to_a_call_is_closed(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"which could run code|not a readable pickle"):
        read_pickle(written(tmp_path / "d.p", content))


@pytest.mark.parametrize("content", [b"", b"<html>", pickle.dumps([1, 2, 3])[:-3]])
def test_a_damaged_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"d\.p: not a readable pickle"):
        read_pickle(written(tmp_path / "d.p", content))


@pytest.mark.parametrize("inside", [True, False])
def test_expressions_become_phrases_of_their_image(tmp_path: Path, inside: bool) -> None:
    write_refer(tmp_path / "refcoco+", "unc", SAID)
    raw = tmp_path / "refcoco+" if inside else tmp_path
    material = read_refer(raw, "refcoco+", None, [], NO_PICTURES)
    assert material.source == {
        "source": "refcoco_plus",
        "split_by": "unc",
        "split": ["testA", "testB", "train"],
    }
    first, second = material.tasks
    assert (first.image_id, first.width, first.height, first.origins) == ("309", 640, 640, ("coco:309",))
    assert first.phrases == (
        Phrase("left man", (Box(10, 20, 40.5, 60),), "referring", "", "testA", False),
        Phrase("guy", (Box(10, 20, 40.5, 60),), "referring", "", "testA", False),
        # What sticks out of the image is cut off.
        Phrase("corner", (Box(600, 600, 640, 640),), "referring", "", "testB", False),
    )
    assert first.counts == {"images": 1, "objects": 2, "expressions": 3}
    assert [phrase.text for phrase in second.phrases] == ["all of it"]
    assert material.seen == {"image": 2, "box": 3, "text": 4}


def test_only_the_chosen_splits_are_taken(tmp_path: Path) -> None:
    write_refer(tmp_path, "unc", SAID)
    material = read_refer(tmp_path, "refcoco", "unc", ["testB", "train"], NO_PICTURES)
    assert [[phrase.text for phrase in task.phrases] for task in material.tasks] == [
        ["all of it"],
        ["corner"],
    ]
    with pytest.raises(InputError, match=r"no split val; it holds testA \(1 refs\), train \(1 refs\)"):
        read_refer(tmp_path, "refcoco", "unc", ["train", "val"], NO_PICTURES)


def test_bad_entries_are_rejected_one_by_one(tmp_path: Path) -> None:
    write_refer(tmp_path, "unc", SAID)
    refs = pickle.loads((tmp_path / "refs(unc).p").read_bytes())
    refs[0]["sentences"] += [{"sent": " "}, {"raw": "only raw"}, {"sent": "\udcff"}]
    refs[1]["ann_id"] = 99
    refs += [{**refs[2], "image_id": 5, "ref_id": 7}, {"split": "val"}]
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs))
    instances = json.loads((tmp_path / "instances.json").read_text())
    instances["annotations"][2]["bbox"] = [700, 10, 5, 5]
    instances["images"].append({"id": 3})
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    material = read_refer(tmp_path, "refcoco", "unc", [], NO_PICTURES)
    assert [[phrase.text for phrase in task.phrases] for task in material.tasks] == [["left man", "guy"], []]
    assert [(entry.what, entry.image_id, entry.item) for entry in material.rejected] == [
        ("image", "{'id': 3}", ""),
        ("text", "309", "ref 0"),
        ("text", "309", "ref 0"),
        ("text", "309", "ref 0"),
        ("box", "716", "annotation 99"),
        ("box", "309", "[700, 10, 705, 15]"),
        ("image", "5", "ref 7"),
        ("image", "None", "ref None"),
    ]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda raw: (raw / "refs(unc).p").unlink(), r"refs\(unc\)\.p: no such file"),
        (lambda raw: (raw / "instances.json").unlink(), r"instances\.json: no such file"),
        (lambda raw: (raw / "instances.json").write_text("[]"), "not annotations in COCO's format"),
        (lambda raw: (raw / "instances.json").write_text("{"), "not annotations in COCO's format"),
        (lambda raw: (raw / "refs(unc).p").write_bytes(pickle.dumps(3)), "not a list of refs"),
        (
            lambda raw: (raw / "refs(unc).p").write_bytes(pickle.dumps([])),
            "no split at all; it holds nothing",
        ),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, break_it: Any, message: str) -> None:
    write_refer(tmp_path, "unc", SAID)
    break_it(tmp_path)
    with pytest.raises(InputError, match=message):
        read_refer(tmp_path, "refcoco", "unc", [], NO_PICTURES)


def test_a_split_that_the_dataset_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--split-by: refcoco\+ is not split by google; give unc"):
        read_refer(tmp_path, "refcoco+", "google", [], NO_PICTURES)


@pytest.mark.parametrize(
    ("dataset", "expressions", "objects", "images"),
    [("refcoco+", 10758, 3805, 1500), ("refcoco", 10834, 3811, 1500), ("refclef", 5842, 4866, 1000)],
)
def test_val_has_the_published_counts(
    refer_raw: Path, tmp_path: Path, dataset: str, expressions: int, objects: int, images: int
) -> None:
    material = read_refer(refer_raw, dataset, None, ["val"], NO_PICTURES)
    prepared = prepare_material(material, tmp_path / "t", Writing())
    assert prepared.counts == {"images": images, "objects": objects, "expressions": expressions}
    assert prepared.info.counts["splits"]["val"]["phrases"] == expressions
    assert prepared.rejected == {"images": 0, "texts": 0, "boxes": 0}


def test_real_photos_of_refcocog(shared_dir: Path, tmp_path: Path) -> None:
    shared = shared_dir / "data" / "refcoco"
    lines = map(json.loads, (shared / "refs_with_photos.jsonl").read_text().splitlines())
    said = [shared_expression(line, "refcocog") for line in lines if line["split"] == "refcocog_umd_val"]
    sizes = {}
    for path in (shared / "images").iterdir():
        with Image.open(path) as image:
            sizes[path.name] = image.size
    write_refer(tmp_path / "refcocog", "umd", said, sizes)
    material = read_refer(tmp_path, "refcocog", None, ["val"], Pictures(), images=shared / "images")
    prepared = prepare_material(material, tmp_path / "t", Writing(workers=1))
    assert prepared.counts == {"images": 2, "objects": 3, "expressions": 6}
    assert [(row.image_id, row.width) for row in read_rows(tmp_path / "t")] == [("309", 600), ("33017", 470)]


def test_the_folder_of_the_official_layout_is_found(tmp_path: Path) -> None:
    write_refer(tmp_path / "refcoco", "google", SAID)
    folder = tmp_path / "images" / "mscoco" / "images" / "train2014"
    folder.mkdir(parents=True)
    (folder / TRAIN).touch()
    material = read_refer(tmp_path, "refcoco", "google", [], Pictures(only_present=True))
    assert [task.path for task in material.tasks] == [str(folder / TRAIN)]
    assert material.counts["images_left_out"] == 1


def test_instances_may_hold_more_than_the_refs(tmp_path: Path) -> None:
    write_refer(tmp_path, "unc", SAID[:1])
    content = json.loads((tmp_path / "instances.json").read_text())
    write_instances(tmp_path / "instances.json", {309: VAL, 1: "1.jpg"}, content["annotations"])
    assert len(read_refer(tmp_path, "refcoco", "unc", [], NO_PICTURES).tasks) == 1
