import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from raw_images import noise

from amc_platform.data.storing import Fit, Storing, Unreadable, encode


def stored(original: bytes, size: tuple[int, int], storing: Storing) -> Image.Image:
    encoded = encode(original, size, storing)
    assert isinstance(encoded, bytes)
    with Image.open(io.BytesIO(encoded)) as image:
        image.load()
        return image


def test_without_a_size_bytes_are_left_as_they_are() -> None:
    for original in (noise(50, 30), noise(50, 30, kind="PNG"), noise(50, 30, mode="L")):
        assert encode(original, (50, 30), Storing()) == original


@pytest.mark.parametrize(
    ("size", "wanted", "fit", "expected"),
    [
        ((500, 333), 256, "longest", (256, 170)),  # 333 * 256 / 500 = 170.496
        ((333, 500), 256, "longest", (170, 256)),
        ((500, 1), 100, "longest", (100, 1)),
        ((500, 333), 256, "square", (256, 256)),
        ((40, 30), 64, "square", (64, 64)),
    ],
)
def test_sizes_by_hand(size: tuple[int, int], wanted: int, fit: Fit, expected: tuple[int, int]) -> None:
    image = stored(noise(*size), size, Storing(wanted, fit))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", expected)


def test_a_small_image_is_not_made_larger() -> None:
    original = noise(40, 30)
    assert encode(original, (40, 30), Storing(40)) == original
    assert encode(original, (40, 30), Storing(512, "longest")) == original


@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(1, 80))
def test_the_longest_edge_is_kept_to_and_the_shape_too(size: tuple[int, int], wanted: int) -> None:
    image = stored(noise(*size), size, Storing(wanted))
    assert max(image.size) == min(wanted, max(size))
    scale = max(image.size) / max(size)
    assert all(abs(a - max(1, b * scale)) <= 0.5 for a, b in zip(image.size, size, strict=True))


def test_pixels_stay_where_they_are_also_when_a_jpeg_is_decoded_at_a_fraction() -> None:
    pixels = np.zeros((800, 1000, 3), np.uint8)
    pixels[200:400, 500:750] = 255
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=95)
    small = np.asarray(stored(encoded.getvalue(), (1000, 800), Storing(100)), dtype=float)
    assert small.shape == (80, 100, 3)
    expected = np.zeros((80, 100))
    expected[20:40, 50:75] = 255
    # Every pixel but those along the edges, which the filter mixes.
    sharp = np.ones((80, 100), bool)
    sharp[17:43, 47:78] = False
    sharp[23:37, 53:72] = True
    assert np.abs(small.mean(axis=2) - expected)[sharp].max() < 12


def test_lower_quality_is_smaller() -> None:
    original = noise(400, 300)
    sizes = [len(encode(original, (400, 300), Storing(200, quality=quality))) for quality in (95, 70, 30)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.6 * sizes[0]


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("JPEG", "CMYK"), ("PNG", "L")])
def test_other_colours_become_rgb(kind: str, mode: str) -> None:
    assert stored(noise(60, 40, kind=kind, mode=mode), (60, 40), Storing(30)).mode == "RGB"


def test_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    original = noise(60, 40, exif=exif)
    assert stored(original, (60, 40), Storing(30)).size == (30, 20)
    assert not stored(original, (60, 40), Storing(30)).getexif()


@pytest.mark.parametrize("storing", [Storing(), Storing(32)])
@pytest.mark.parametrize(
    ("original", "reason"),
    [
        (b"", "^not an image, or of an unknown kind$"),
        (b"<html>not found</html>", "^not an image, or of an unknown kind$"),
        (noise(400, 300)[:-2000], "cannot be decoded .*truncated"),
        (noise(300, 400), "the file has 300 x 400 pixels, its annotations say 400 x 300"),
    ],
)
def test_what_is_no_image_says_so(original: bytes, reason: str, storing: Storing) -> None:
    found = encode(original, (400, 300), storing)
    assert isinstance(found, Unreadable)
    assert re.search(reason, found.reason)
