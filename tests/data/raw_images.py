"""Images and materials for tests of `amc prepare`."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from amc_platform.data.boxes import Box
from amc_platform.data.material import ImageTask, Material
from amc_platform.data.rows import Phrase
from amc_platform.data.shards import Writing


def noise(
    width: int, height: int, seed: int = 0, kind: str = "JPEG", mode: str = "RGB", **options: object
) -> bytes:
    """An encoded image that does not compress to nothing."""
    channels = len(mode) if mode != "L" else 1
    small = np.random.default_rng(seed).integers(
        0, 256, (-(-height // 8), -(-width // 8), channels), np.uint8
    )
    pixels = small.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    encoded = io.BytesIO()
    Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode).save(encoded, kind, **options)
    return encoded.getvalue()


def phrase(text: str, box: tuple[float, ...] = (1, 2, 8, 9), split: str = "val") -> Phrase:
    return Phrase(text, (Box(*box),), "entity", "people", split, False)


def material(folder: Path, images: int = 7, size: tuple[int, int] = (40, 24)) -> Material:
    """`images` images of `size` in `folder`, each with two phrases; image number i holds noise of seed i."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Material(
        {"source": "noise", "split": ("val",)}, seen=Counter(image=images, text=2 * images, box=2 * images)
    )
    for i in range(images):
        path = folder / f"{i}.jpg"
        if not path.exists():
            path.write_bytes(noise(*size, seed=i))
        made.tasks.append(
            ImageTask(
                str(i),
                str(path),
                *size,
                (phrase(f"thing {i}"), phrase("a thing", (0, 0, 3.7, 4))),
                frozenset({"a sky"}),
                (f"noise:{i}",),
                {"images": 1, "phrases": 2, "odd/yes" if i % 2 else "odd/no": 1},
            )
        )
    return made


def broken(folder: Path, images: int, bad: list[int]) -> Material:
    """The same, with images that are none at the numbers `bad`."""
    made = material(folder, images)
    for i in bad:
        (folder / f"{i}.jpg").write_bytes(b"not an image")
    return made


def small_parts(**changes: Any) -> Writing:
    """Parts of two images or so."""
    return replace(Writing(workers=1, shard_bytes=1500), **changes)


def listed(prepared_file: str | Path) -> list[tuple[str, ...]]:
    """What is on a list of rejected things."""
    return [tuple(row.values()) for row in pq.read_table(prepared_file).to_pylist()]
