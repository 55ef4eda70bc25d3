import re
from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.evaluation.protocol import PROTOCOLS, Protocol


def test_the_published_ones_are_data() -> None:
    published = {name: (p.resolution, p.resize, p.max_words) for name, p in PROTOCOLS.items()}
    assert published == {
        "scenes": (None, "bilinear", None),
        "paper": (256, "bilinear", None),
        "published-flickr30k": (256, "opencv_bilinear", 50),
        "published-refcoco-plus": (384, "pil_bicubic", 30),
        "published-referit": (384, "pil_bicubic", 30),
        "box-centre": (None, "bilinear", None),
    }


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=re.escape("evaluation.protocol: no protocol is named 'published-refcoco+'")
    ):
        Protocol.find("published-refcoco+")
    with pytest.raises(InputError, match="did you mean scenes"):
        Protocol.find("scene")
    with pytest.raises(InputError, match=r"choose one of scenes, paper, .*, or a \.yaml file"):
        Protocol.find("xyz")


def test_every_field_that_can_differ_changes_the_hash() -> None:
    protocol = Protocol.named("published-flickr30k")
    assert re.fullmatch(r"[0-9a-f]{16}", protocol.hash)
    assert protocol.hash == Protocol.named("published-flickr30k").hash
    changes = [
        {"name": "other"},
        {"resolution": 384},
        {"resize": "pil_bicubic"},
        {"boxes": "union"},
        {"text": "as_is"},
        {"max_words": None},
        {"point": "box_centre"},
    ]
    hashes = {protocol.hash, *(protocol.model_copy(update=change).hash for change in changes)}
    assert len(hashes) == 1 + len(changes)


def test_the_network_reads_what_the_protocol_lets_it() -> None:
    long = " ".join(f"w{number}" for number in range(60))
    assert Protocol.named("published-flickr30k").words(long).split()[-1] == "w49"
    assert Protocol.named("published-referit").words(long).split()[-1] == "w29"
    assert Protocol.named("scenes").words(long) == long
    assert Protocol(name="x", max_words=2).words("The dog's  tail") == "The dog's"
    assert Protocol.named("published-referit").words("The dog's tail (left)!") == "the dogs tail left"


def test_a_protocol_is_said_in_one_line() -> None:
    assert Protocol.named("scenes").describe() == (
        "images at the network's own size (bilinear), heatmap upsampled bicubic to the original image,"
        " first maximum strictly inside any box"
    )
    assert Protocol.named("published-referit").describe() == (
        "images at 384 px (pil bicubic), heatmap upsampled bicubic to the original image, first maximum strictly"
        " inside any box, text without punctuation, at most 30 words"
    )
    assert Protocol(name="x", point="box_centre", boxes="union").describe() == (
        "centre of the box that a detector gives, strictly inside the enclosing box"
    )


def test_one_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("# Larger than published.\nresolution: 512\nresize: pil_bicubic\nboxes: union\n")
    own = Protocol.find(str(path))
    assert own == Protocol(name="large", resolution=512, resize="pil_bicubic", boxes="union")
    path.write_text("name: Large\nresolution: 512\n")
    assert Protocol.find(str(path)).name == "Large"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resoluton: 512", "own.yaml:1: resoluton: no such field; did you mean resolution?"),
        ("boxes: all", 'own.yaml:1: boxes: "all" is no choice here; choose any or union'),
        ("a: 1\nresolution: -3", "own.yaml:2: resolution: must be greater than 0, not -3"),
        ("name: paper\nresolution: 512", "name: paper is another protocol's"),
        ("[1]", "must be a mapping of fields"),
        ("boxes: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        Protocol.find(str(tmp_path / "own.yaml"))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        Protocol.find("nowhere.yaml")
