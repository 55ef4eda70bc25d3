"""Which images are taken for the same picture: by hand, on planted copies, and on real photos."""

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from amc_platform.data.phash import ALIKE_BITS, ALIKE_LEVELS, LOOK_BYTES, groups, look, pixel_hash


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> Image.Image:
    """The image as it is read from a file."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return Image.open(data)


def test_one_wave_sets_the_bit_of_its_frequency() -> None:
    x = (np.arange(32) + 0.5) * np.pi / 32
    # Frequency 3 down and 2 across is row 2, column 1 of the block that begins at frequency 1: the 18th bit.
    wave = 128 + 50 * np.outer(np.cos(3 * x), np.cos(2 * x))
    assert pixel_hash(wave) == 1 << (63 - (2 * 8 + 1))
    assert pixel_hash(np.full((32, 32), 77.0)) == 0


def test_brightness_and_contrast_leave_the_hash() -> None:
    gray = np.random.default_rng(0).uniform(0, 200, (32, 32))
    assert pixel_hash(0.5 * gray + 40) == pixel_hash(gray)
    # The median parts the 64 bits into halves, and the negative exchanges them.
    assert pixel_hash(gray).bit_count() == 32
    assert pixel_hash(255 - gray) == pixel_hash(gray) ^ (2**64 - 1)


def test_a_look_is_hash_and_thumbnail() -> None:
    left_red = Image.new("RGB", (64, 64), (255, 0, 0))
    left_red.paste((0, 0, 255), (32, 0, 64, 64))
    thumbnail = np.frombuffer(look(encoded(left_red)), np.uint8)[8:].reshape(8, 8, 3)
    assert thumbnail[:, :4].tolist() == [[[255, 0, 0]] * 4] * 8
    assert thumbnail[:, 4:].tolist() == [[[0, 0, 255]] * 4] * 8
    assert len(look(encoded(left_red))) == LOOK_BYTES


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    bits = int.from_bytes(first[:8].tobytes(), "big") ^ int.from_bytes(second[:8].tobytes(), "big")
    levels = np.abs(first[8:].astype(int) - second[8:].astype(int)).mean()
    return bits.bit_count() <= ALIKE_BITS and levels <= ALIKE_LEVELS


def in_groups(looks: np.ndarray) -> list[list[int]]:
    """Groups by comparing every two, the plain way."""
    label = list(range(len(looks)))
    for i, j in combinations(range(len(looks)), 2):
        if alike(looks[i], looks[j]):
            label = [label[i] if at == label[j] else at for at in label]
    return [[label[i] == label[j] for j in range(len(looks))] for i in range(len(looks))]


# Few values, so that near, equal and far looks all occur.
bytes_of_hash = st.sampled_from([0, 1, 3, 128, 255])
hashes = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(8)), elements=bytes_of_hash)


@given(hashes, st.integers(0, 2**32 - 1))
def test_groups_are_those_of_comparing_every_two(hashes: np.ndarray, seed: int) -> None:
    levels = np.random.default_rng(seed).choice([0, 4, 5, 9], (len(hashes), 1)).astype(np.uint8)
    looks = np.concatenate([hashes, np.broadcast_to(levels, (len(hashes), 192))], axis=1)
    labels = groups(looks)
    assert (labels[:, None] == labels[None]).tolist() == in_groups(looks)


@pytest.mark.parametrize(
    ("bits", "levels", "same"), [(4, 0, True), (5, 0, False), (0, 4, True), (0, 5, False), (4, 4, True)]
)
def test_both_limits(bits: int, levels: int, same: bool) -> None:
    first = np.zeros(LOOK_BYTES, np.uint8)
    second = first.copy()
    second[:bits] = 64  # one bit in each of so many bytes
    second[8:] = levels
    labels = groups(np.stack([first, second]))
    assert (labels[0] == labels[1]) == same


def test_planted_copies_are_found_among_a_hundred_thousand() -> None:
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 256, (100_000, LOOK_BYTES), np.uint8)
    looks[:50] = looks[50_000:50_050]
    looks[:50, 2] ^= 0b1001
    looks[:50, 7] ^= 0b10000001
    labels = groups(looks)
    assert (labels[:50] == labels[50_000:50_050]).all()
    assert len(np.unique(labels)) == 100_000 - 50


def test_no_images_have_no_groups() -> None:
    assert len(groups(np.empty((0, LOOK_BYTES), np.uint8))) == 0


def test_real_photos_are_known_again_and_not_taken_for_each_other(shared_dir: Path) -> None:
    paths = sorted((shared_dir / "data" / "flickr30k" / "flickr30k-images").glob("*.jpg"))[:120]
    looks = [look(Image.open(path)) for path in paths]
    for path in paths:
        photo = Image.open(path).convert("RGB")
        looks.append(look(encoded(photo.resize((256, 256)), "JPEG", quality=60)))
    labels = groups(np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK_BYTES))
    assert (labels[:120] == labels[120:]).all()
    assert len(np.unique(labels)) == 120
