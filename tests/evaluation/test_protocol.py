import re
from dataclasses import replace

import pytest

from amc_models.errors import InputError
from amc_platform.evaluation.protocol import PROTOCOLS, Protocol


def test_the_published_ones_are_data() -> None:
    assert {name: protocol.resolution for name, protocol in PROTOCOLS.items()} == {
        "scenes": None,
        "flickr30k": 256,
        "refcoco_plus": 384,
        "referit": 384,
    }


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=re.escape("evaluation.protocol: no protocol is named 'refcoco+'")):
        Protocol.named("refcoco+")
    with pytest.raises(InputError, match="did you mean scenes"):
        Protocol.named("scene")
    with pytest.raises(InputError, match="choose one of flickr30k, refcoco_plus, referit, scenes"):
        Protocol.named("xyz")


def test_every_field_that_can_differ_changes_the_hash() -> None:
    protocol = Protocol.named("flickr30k")
    assert re.fullmatch(r"[0-9a-f]{16}", protocol.hash)
    assert protocol.hash == Protocol.named("flickr30k").hash
    others = [
        replace(protocol, name="other"),
        replace(protocol, resolution=384),
        replace(protocol, resize="bicubic_antialias"),
        replace(protocol, boxes="union"),
        replace(protocol, max_words=None),
    ]
    assert len({protocol.hash, *(other.hash for other in others)}) == 6


def test_words_are_cut_where_the_protocol_says_so() -> None:
    long = " ".join(f"w{number}" for number in range(60))
    assert Protocol.named("flickr30k").words(long).split()[-1] == "w49"
    assert Protocol.named("referit").words(long).split()[-1] == "w29"
    assert Protocol.named("scenes").words(long) == long


def test_a_protocol_is_said_in_one_line() -> None:
    assert Protocol.named("scenes").describe() == (
        "images at the network's own size (bilinear), heatmap upsampled bicubic to the original image,"
        " first maximum strictly inside any box"
    )
    assert "384 px (bicubic, antialias)" in replace(Protocol.named("referit"), max_words=None).describe()
