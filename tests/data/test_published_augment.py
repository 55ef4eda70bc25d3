"""The published augmentation: equal to recorded cases, and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file

from amc_platform.data.boxes import Box
from amc_platform.data.published_augment import (
    PublishedView,
    jitter,
    normalise_published,
    resize_mask_published,
    resize_published,
    to_gray,
)
from amc_platform.data.rows import ImageRow

FACTORS = ("brightness", "contrast", "saturation", "hue")
pictures = arrays(np.uint8, (6, 5, 3))


def test_recorded_cases_are_equal(shared_dir: Path) -> None:
    cases = json.loads((shared_dir / "golden" / "augment.json").read_text())["cases"]
    recorded = load_file(shared_dir / "golden" / "augment.safetensors")
    assert len(cases) >= 4
    for case in cases:
        wanted = {key.partition("_")[2]: v for key, v in recorded.items() if key.startswith(f"{case['i']}_")}
        factors = {name: case[name] for name in FACTORS}
        resized = resize_published(wanted["img"], 32)
        got = {
            "resized": resized,
            "mask_resized": resize_mask_published(wanted["mask"], 32),
            "gray": to_gray(resized),
            "jitter": jitter(resized, **factors),
            "gray_jitter": jitter(to_gray(resized), **factors),
            "jitter_normalized": normalise_published(jitter(resized, **factors)),
        }
        assert {*got, "img", "mask"} == set(wanted)
        for name, value in got.items():
            assert value.dtype == wanted[name].dtype
            assert np.array_equal(value, wanted[name]), (case["i"], name)


def test_jitter_by_hand() -> None:
    red = np.full((2, 2, 3), (200, 100, 100), np.uint8)
    # HSV of bytes: hue 0, saturation 127.5 -> 128 of 255, value 200. Shifted by 255·0.2 = 51 and 255·1 = 255: hue 51
    # (of 180, so 102 degrees) at full saturation, which is green 200, red (120 - 102) / 60 · 200 = 60, no blue.
    assert jitter(red, brightness=1, contrast=1, saturation=1, hue=0.2)[0, 0].tolist() == [60, 200, 0]
    # -51 is 129 (258 degrees): blue 200, red (258 - 240) / 60 · 200 = 60.
    assert jitter(red, brightness=1, contrast=1, saturation=1, hue=-0.2)[0, 0].tolist() == [60, 0, 200]
    # Gray has hue 0, so that it turns red: 100 · 0.8 + 0.8 · 0.25 · 100 = 100.
    gray = np.full((2, 2, 3), 100, np.uint8)
    assert jitter(gray, brightness=1.25, contrast=0.8, saturation=1, hue=0)[0, 0].tolist() == [100, 0, 0]


@given(pictures, *[st.floats(0.6, 1.4)] * 3, st.floats(-0.4, 0.4))
def test_a_jittered_pixel_keeps_little_but_its_brightest_channel(
    picture: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float
) -> None:
    factors = dict(zip(FACTORS, (brightness, contrast, saturation, hue), strict=True))
    jittered = jitter(picture, **factors).astype(int)
    # At least 153 of 255 saturated: the darkest channel is at most 40 % of the brightest, up to rounding.
    assert (jittered.min(axis=2) <= 0.4 * jittered.max(axis=2) + 1).all()


def test_gray_and_normalisation_by_hand() -> None:
    picture = np.array([[[255, 0, 0], [0, 255, 0], [10, 20, 30]]], np.uint8)
    # 0.299 R + 0.587 G + 0.114 B
    assert to_gray(picture)[0].tolist() == [[76] * 3, [150] * 3, [18] * 3]
    assert normalise_published(picture)[0, 0] == pytest.approx([1.9303361, -1.7520971, -1.4802198], abs=1e-6)


def test_a_view_resizes_mirrors_and_normalises() -> None:
    picture = np.zeros((3, 6, 3), np.uint8)
    picture[:, :2] = 255
    unchanged = next(s for s in range(99) if (np.random.default_rng(s).random(2) > (0.2, 0.5)).all())
    image = PublishedView(3, 3).image(picture, True, np.random.default_rng(unchanged))
    assert np.array_equal(
        image, normalise_published(resize_published(picture, 3)[:, ::-1]).transpose(2, 0, 1)
    )
    assert image[0, 0].tolist() == pytest.approx([-1.7922626, -1.7922626, 1.9303361])


def test_a_mask_of_another_size_is_bilinear_with_aligned_corners() -> None:
    row = ImageRow("i", b"", 3, 3, (), frozenset())
    mask = PublishedView(3, 5).mask([Box(0, 0, 1, 3)], row, False)
    # Columns 1 0 0 at 0, 2 and 4; in between the mean.
    assert mask.tolist() == [[1, 0.5, 0, 0, 0]] * 5
    assert PublishedView(3, 5).mask([Box(0, 0, 1, 3)], row, True).tolist() == [[0, 0, 0, 0.5, 1]] * 5
