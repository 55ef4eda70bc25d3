"""The plain dataset class and the loader make the same samples, or the benchmark says that they do not."""

import dataclasses
import io
from pathlib import Path

import pytest
from PIL import Image

from amc_models.errors import InputError
from amc_platform.data.benchmark import _check, _loader, compare_loading, photographs
from amc_platform.data.plain_dataset import PlainDataset


def test_generated_photos_weigh_what_photos_weigh() -> None:
    rows = photographs(3)
    for row in rows:
        with Image.open(io.BytesIO(row.image)) as image:
            assert image.size == (row.width, row.height) == (500, 375)
        assert 120_000 < len(row.image) < 145_000
        assert all(0 <= b.x1 < b.x2 <= 500 and 0 <= b.y1 < b.y2 <= 375 for p in row.phrases for b in p.boxes)
    assert rows == photographs(3)


def test_both_ways_are_compared_before_they_are_timed(tmp_path: Path) -> None:
    speed = compare_loading(photographs(70), tmp_path, image_size=64, phrases_per_image=3)
    assert (speed.images, speed.compared, speed.phrases_per_image) == (70, 64, 3)
    assert speed.stored_bytes < speed.original_bytes / 5
    # A third of the decoding a sample, and all of it from small images.
    assert speed.shared > speed.prepared > speed.plain > 0


def test_a_difference_is_found(tmp_path: Path) -> None:
    rows = photographs(64)
    loader = _loader(rows, tmp_path / "t.parquet", 64, 1)
    assert _check(PlainDataset(tmp_path, rows, 64), loader) == 64
    shifted = dataclasses.replace(rows[0], phrases=rows[1].phrases)
    with pytest.raises(RuntimeError, match="image p0: the loader's sample is not the plain class's"):
        _check(PlainDataset(tmp_path, [shifted, *rows[1:]], 64), loader)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 images are too few to time; give at least 32"):
        compare_loading(photographs(5), tmp_path, 64, 1)
