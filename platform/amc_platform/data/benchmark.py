"""What loading costs: batches from a prepared table beside a plain dataset class over the original images.

Both make samples as published. They are compared bit for bit where they see the same pixels, then timed in turns on
process CPU time, so that the ratio of a round holds whatever else the machine does.
"""

import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from amc_models.errors import InputError
from amc_models.tokenizer import Tokenizer
from amc_platform.data.boxes import Box
from amc_platform.data.loader import LoaderConfig, TrainingLoader
from amc_platform.data.plain_dataset import PlainDataset
from amc_platform.data.reader import open_rows
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.storing import Storing, Unreadable, encode
from amc_platform.data.table import write_table

ROUNDS = 15
IMAGES_PER_BATCH = 32
ROWS_PER_GROUP = 64


@dataclass(frozen=True)
class LoadingSpeed:
    """Samples, each a phrase with its image and mask, that a second of CPU time makes; medians over rounds."""

    images: int
    compared: int
    """Samples of both ways that were equal to the last bit before anything was timed."""
    original_bytes: float
    stored_bytes: float
    """Mean sizes of an encoded image."""
    phrases_per_image: int
    plain: float
    prepared: float
    """From the prepared table, one phrase an image, and ..."""
    prepared_ratio: float
    """... against the plain class in the same round."""
    shared: float
    """From the prepared table, `phrases_per_image` phrases an image, and ..."""
    shared_ratio: float


def compare_loading(
    rows: Sequence[ImageRow], folder: Path, image_size: int, phrases_per_image: int
) -> LoadingSpeed:
    """Write `rows` to `folder`: as image files, as a table, and as one whose images are `image_size` pixels square.

    The last one stays there as `prepared.parquet`. Raises RuntimeError where the two ways differ, and InputError for
    fewer images than a batch has.
    """
    if len(rows) < IMAGES_PER_BATCH:
        raise InputError(f"{len(rows)} images are too few to time; give at least {IMAGES_PER_BATCH}")
    plain = PlainDataset(folder, rows, image_size)
    stored = [_stored(row, image_size) for row in rows]
    compared = _check(plain, _loader(rows, folder / "originals.parquet", image_size, 1))
    single, shared = (
        _loader(stored, folder / "prepared.parquet", image_size, phrases).batch
        for phrases in (1, phrases_per_image)
    )
    rng = np.random.default_rng(0)

    def plain_batch(_: int) -> object:
        return plain.batch(rng.integers(len(rows), size=IMAGES_PER_BATCH).tolist(), rng)

    # In turns; the first round warms up.
    seconds = [[_cpu_seconds(make, step) for make in (plain_batch, single, shared)] for step in range(ROUNDS)]
    times = np.array(seconds[1:]) / IMAGES_PER_BATCH / (1, 1, phrases_per_image)
    return LoadingSpeed(
        images=len(rows),
        compared=compared,
        original_bytes=statistics.mean(len(row.image) for row in rows),
        stored_bytes=statistics.mean(len(row.image) for row in stored),
        phrases_per_image=phrases_per_image,
        plain=float(np.median(1 / times[:, 0])),
        prepared=float(np.median(1 / times[:, 1])),
        prepared_ratio=float(np.median(times[:, 0] / times[:, 1])),
        shared=float(np.median(1 / times[:, 2])),
        shared_ratio=float(np.median(times[:, 0] / times[:, 2])),
    )


def photographs(count: int, seed: int = 0) -> list[ImageRow]:
    """Pictures of 500 x 375 pixels and about 130 kB, five phrases each.

    So large are downloaded photos: 140 kB those of Flickr30k (4.4 GB for 31,783), 136 kB Visual Genome's (14.7 GB for
    108,249).
    """
    rng = np.random.default_rng(seed)
    rows: list[ImageRow] = []
    for number in range(count):
        coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
        picture = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
        grain = rng.integers(-12, 13, picture.shape)
        stream = io.BytesIO()
        Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=97)
        corners = np.sort(rng.random((5, 2, 2)), axis=1) * (500, 375)
        phrases = tuple(
            Phrase(f"thing {index}", (Box(*box.ravel().tolist()),), "category", "", "train", False)
            for index, box in enumerate(corners)
        )
        rows.append(ImageRow(f"p{number}", stream.getvalue(), 500, 375, phrases, frozenset()))
    return rows


def _stored(row: ImageRow, image_size: int) -> ImageRow:
    with Image.open(io.BytesIO(row.image)) as image:
        encoded = encode(row.image, image.size, Storing(image_size, "square"))
    if isinstance(encoded, Unreadable):
        raise InputError(f"image {row.image_id}: {encoded.reason}; prepare the table again")
    return replace(row, image=encoded)


def _loader(rows: Sequence[ImageRow], path: Path, image_size: int, phrases_per_image: int) -> TrainingLoader:
    """Batches as published from a table of `rows`, which is written where it is not there yet."""
    if not path.exists():
        write_table(path, rows, source={"source": "bench"}, baselines=None, rows_per_group=ROWS_PER_GROUP)
    config = LoaderConfig(
        images_per_batch=IMAGES_PER_BATCH,
        phrases_per_image=phrases_per_image,
        image_size=image_size,
        mask_size=image_size,
        max_tokens=25,
        preset="published",
        flip="plain",
        regions="one",
        empty_regions="skip",
        mask_words="all",
        false_negatives="keep",
        seed=0,
    )
    words = {word for row in rows for phrase in row.phrases for word in phrase.text.lower().split()}
    return TrainingLoader(open_rows(path), Tokenizer.of_words(sorted(words)), config)


def _check(plain: PlainDataset, loader: TrainingLoader) -> int:
    """Compare two batches, item by item; their number."""
    steps = range(2)
    for step in steps:
        state = loader.sampler.state(step)
        for image in loader.sampler.share(state).tolist():
            ours = loader.sample(state, image)
            rng = np.random.default_rng([state.seed, 1, state.epoch, image])
            item = plain.item(image, rng)
            same = np.array_equal(item.image, ours.image) and np.array_equal(item.mask, ours.masks[0])
            if not same or [item.text] != ours.drawn.texts:
                raise RuntimeError(
                    f"image {ours.drawn.row.image_id}: the loader's sample is not the plain class's"
                )
    return len(steps) * loader.config.images_per_batch


def _cpu_seconds(make: Callable[[int], object], step: int) -> float:
    started = time.process_time()
    make(step)
    return time.process_time() - started
