import re
from dataclasses import fields, replace

import pytest
import torch
from PIL import Image

from amc_models.errors import InputError
from amc_platform.data.table import ImageRow
from amc_platform.evaluation.images import protocol_image
from amc_platform.evaluation.protocol import PROTOCOLS, Protocol


def png_row(width: int, height: int, tmp_path) -> tuple[ImageRow, Image.Image]:
    noise = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(1))
    image = Image.fromarray(noise.to(torch.uint8).numpy())
    image.save(tmp_path / "image.png")
    return ImageRow("a", (tmp_path / "image.png").read_bytes(), width, height, (), frozenset()), image


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


def test_every_field_changes_the_hash() -> None:
    protocol = Protocol.named("flickr30k")
    assert re.fullmatch(r"[0-9a-f]{16}", protocol.hash)
    assert protocol.hash == Protocol.named("flickr30k").hash
    changed = {
        "name": "other",
        "resolution": 384,
        "resize": "bicubic_antialias",
        "boxes": "union",
        "max_words": None,
        "upsampling": "bilinear",
        "point": "centre",
        "inside": "inclusive",
    }
    assert set(changed) == {field.name for field in fields(Protocol)}
    hashes = {
        Protocol(
            **{
                field.name: changed.get(field.name) if field.name == name else getattr(protocol, field.name)
                for field in fields(Protocol)
            }
        ).hash
        for name in ("name", "resolution", "resize", "boxes", "max_words")
    }
    assert len(hashes | {protocol.hash}) == 6


def test_words_are_cut_where_the_protocol_says_so() -> None:
    long = " ".join(f"w{number}" for number in range(60))
    assert Protocol.named("flickr30k").words(long).split()[-1] == "w49"
    assert Protocol.named("referit").words(long).split()[-1] == "w29"
    assert Protocol.named("scenes").words(long) == long


def test_scenes_are_not_resized_at_their_own_size(tmp_path) -> None:
    row, image = png_row(12, 12, tmp_path)
    pixels = protocol_image(row, Protocol.named("scenes"), 12)
    assert torch.equal(
        (pixels * 255).round().to(torch.uint8),
        torch.tensor(list(image.tobytes()), dtype=torch.uint8).reshape(12, 12, 3).permute(2, 0, 1),
    )


def test_antialiased_bicubic_is_pillows(tmp_path) -> None:
    row, image = png_row(600, 450, tmp_path)
    pixels = protocol_image(row, Protocol.named("refcoco_plus"), 64)
    expected = image.resize((384, 384), Image.Resampling.BICUBIC)
    reference = torch.tensor(list(expected.tobytes())).reshape(384, 384, 3).permute(2, 0, 1)
    # Pillow rounds after each axis, so one level of 256 may differ.
    assert int((pixels * 255 - reference).abs().max().round()) <= 1


def test_a_protocol_is_said_in_one_line() -> None:
    assert Protocol.named("scenes").describe() == (
        "images at the network's own size (bilinear), heatmap upsampled bicubic to the original image,"
        " first maximum strictly inside any box"
    )
    assert "384 px (bicubic, antialias)" in replace(Protocol.named("referit"), max_words=None).describe()
