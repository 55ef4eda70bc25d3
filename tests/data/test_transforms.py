"""Pixels, masks and words by hand, and what a mirror does to all of them under every preset."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.nn import functional as F

from amc_models.errors import InputError
from amc_models.pixels import PIXEL_MEAN, PIXEL_STD, normalise_pixels
from amc_platform.data.augmentation import PlainView, Preset, make_view
from amc_platform.data.boxes import Box, region_mask
from amc_platform.data.paper_augment import PaperView
from amc_platform.data.rows import ImageRow
from amc_platform.data.transforms import decode, pixels_of, resize, swap_sides

edges = st.floats(-20, 150, allow_nan=False, width=32)
boxes = st.lists(st.builds(Box, edges, edges, edges, edges), max_size=3)
sides = st.integers(1, 120)
pictures = st.tuples(sides, sides).flatmap(lambda size: arrays(np.uint8, (*size, 3)))
ORIENTATION = 0x0112
"""EXIF's tag, which PIL leaves to its user."""
presets = st.sampled_from(["none", "paper", "published"])


def row(width: int, height: int, image: bytes = b"") -> ImageRow:
    return ImageRow("i7", image, width, height, (), frozenset())


def encoded(picture: np.ndarray, form: str) -> ImageRow:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form)
    return row(picture.shape[1], picture.shape[0], stream.getvalue())


def seeded() -> np.random.Generator:
    return np.random.default_rng(5)


def test_pixels_by_hand() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert decode(encoded(picture, "PNG")).permute(1, 2, 0).tolist() == picture.tolist()
    gray = decode(encoded(picture[:, :, 0], "PNG"))
    assert gray.tolist() == [picture[:, :, 0].tolist()] * 3
    with pytest.raises(InputError, match="image i7: cannot be decoded"):
        decode(row(4, 2, b"no picture"))
    with pytest.raises(InputError, match="image i7: the table was prepared without images"):
        decode(row(4, 2))
    assert torch.allclose(resize(torch.full((3, 4, 4), 51, dtype=torch.uint8), 2), torch.full((3, 2, 2), 0.2))


@given(pictures, st.integers(1, 100), st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]), st.sampled_from([1, 6]))
def test_a_jpeg_is_what_pil_sees(picture: np.ndarray, quality: int, subsampling: str, turned: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=subsampling, exif=exif)
    height, width, _ = picture.shape
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        assert np.array_equal(pixels_of(row(width, height, stream.getvalue())), np.array(image))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_jpegs_too_and_none_that_is_cut_off(mode: str) -> None:
    stream = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(picture).convert(mode).save(stream, "JPEG")
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        assert np.array_equal(pixels_of(row(30, 40, stream.getvalue())), np.array(image.convert("RGB")))
    cut = encoded(picture, "JPEG").image[:-200]
    with pytest.raises(InputError, match="image i7: cannot be decoded"):
        pixels_of(row(30, 40, cut))


@given(pictures, st.sampled_from([8, 64]), st.booleans())
def test_no_preset_only_resizes_and_mirrors(picture: np.ndarray, size: int, flipped: bool) -> None:
    square = np.ascontiguousarray(picture[:1, :1].repeat(size, 0).repeat(size, 1))
    for pixels in (picture, square):
        plain = normalise_pixels(resize(torch.from_numpy(pixels).permute(2, 0, 1), size)[None])[0]
        seen = PlainView(size, size).image(pixels, flipped, seeded())
        assert torch.equal(torch.from_numpy(seen.copy()), plain.flip(-1) if flipped else plain)


@given(boxes, sides, sides, st.sampled_from([7, 64, 100]))
def test_a_reduced_mask_is_the_whole_mask_reduced(
    regions: list[Box], width: int, height: int, size: int
) -> None:
    whole = torch.from_numpy(region_mask(regions, width, height))
    reduced = F.interpolate(whole[None, None], (size, size), mode="nearest")[0, 0]
    mask = PlainView(size, size).mask(regions, row(width, height), False)
    assert torch.equal(torch.from_numpy(mask), reduced)


def test_a_mask_of_the_paper_by_hand() -> None:
    # x is halved, y is doubled; a pixel counts where its centre is inside.
    mask = PaperView(8, 8).mask([Box(3, 1, 9, 2)], row(16, 4), False)
    assert np.argwhere(mask).tolist() == [[y, x] for y in (2, 3) for x in (2, 3)]
    mirrored = PaperView(8, 8).mask([Box(3, 1, 9, 2)], row(16, 4), True)
    assert np.argwhere(mirrored).tolist() == [[y, x] for y in (2, 3) for x in (4, 5)]


@given(boxes, sides, sides, presets)
def test_masks_mirrored_twice_are_masks(regions: list[Box], width: int, height: int, preset: Preset) -> None:
    view = make_view(preset, 64, 64)
    mask, mirrored = (view.mask(regions, row(width, height), flipped) for flipped in (False, True))
    assert np.array_equal(mirrored[:, ::-1], mask)


@given(pictures, st.integers(0, 50), presets)
def test_images_mirrored_twice_are_images(picture: np.ndarray, seed: int, preset: Preset) -> None:
    view = make_view(preset, 64, 64)
    image, mirrored = (view.image(picture, flipped, np.random.default_rng(seed)) for flipped in (False, True))
    # The paper's contrast sums float32 in the order of the pixels: a byte may round the other way.
    step = 1.01 / 255 / 0.26 if preset == "paper" else 0
    assert np.abs(mirrored[:, :, ::-1] - image).max() <= step


@given(st.lists(st.sampled_from(["a", "left", "Right", "LEFT", "leftmost", "cleft", "right,", "left-hand"])))
def test_sides_swapped_twice_are_sides(words: list[str]) -> None:
    text = " ".join(words)
    assert swap_sides(swap_sides(text)) == text


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        (
            "a star to the left of a ring on the right",
            "a star to the right of a ring on the left",
        ),
        ("Leftmost dog, left-hand side", "Rightmost dog, right-hand side"),
        ("a bright cleft, leftover", "a bright cleft, leftover"),
    ],
)
def test_sides_by_hand(text: str, swapped: str) -> None:
    assert swap_sides(text) == swapped


@given(st.sampled_from(["paper", "published"]), st.integers(0, 2**20))
def test_colours_follow_from_the_generator_alone(preset: Preset, seed: int) -> None:
    picture = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
    view = make_view(preset, 64, 64)
    torch.manual_seed(seed + 1)
    first = view.image(picture, False, np.random.default_rng(seed))
    assert np.array_equal(first, view.image(picture, False, np.random.default_rng(seed)))


@pytest.mark.parametrize("preset", ["paper", "published"])
def test_how_often_colours_change(preset: Preset) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8, :, 0] = picture[8:, :, 1] = 160
    rng = np.random.default_rng(0)
    seen = [pixels_seen(make_view(preset, 16, 16).image(picture, False, rng)) for _ in range(2000)]
    same = np.mean([np.array_equal(image, picture) for image in seen])
    gray = np.mean([np.ptp(image.astype(int), axis=2).max() <= 1 for image in seen])
    assert same == pytest.approx(0.8 * 0.5, abs=0.04)
    # The published jitter comes after gray and colours it again.
    assert gray == pytest.approx(0.2 if preset == "paper" else 0.2 * 0.5, abs=0.03)


def pixels_seen(image: np.ndarray) -> np.ndarray:
    """Bytes, channels last, of what the network sees."""
    mean, std = (np.array(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    return ((image * std + mean) * 255).round().astype(np.uint8).transpose(1, 2, 0)
