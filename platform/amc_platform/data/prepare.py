"""From a source to a grounding table on disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amc_models.errors import InputError
from amc_platform.data.pools import in_processes
from amc_platform.data.rows import ImageRow
from amc_platform.data.table import TableInfo, write_table
from amc_platform.spec.sources import DataSource, Flickr30kSource, ScenesSource

if TYPE_CHECKING:
    from amc_platform.data.sources.scenes import Tally

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

_SCENES_PER_TASK = 200
"""Fixed, so that sums over tasks come out the same whatever the number of processes."""


def prepare(
    source: DataSource, out: str | Path, *, workers: int | None = None, progress: Progress | None = None
) -> TableInfo:
    """Make the grounding table that a spec's `data.prepare` describes; see the source's own function."""
    if isinstance(source, Flickr30kSource):
        return prepare_flickr30k(source, out, workers=workers, progress=progress)
    return _scenes(source, out, workers=workers, progress=progress)


def prepare_flickr30k(
    source: Flickr30kSource, out: str | Path, *, workers: int | None = None, progress: Progress | None = None
) -> TableInfo:
    """Flickr30k Entities from raw files, as `amc prepare flickr30k-entities` makes it.

    Raises InputError where raw files are missing, saying which belong where, and where too much is rejected.
    """
    from amc_platform.data.material import Pictures
    from amc_platform.data.rejected import TooManyRejectedError
    from amc_platform.data.shards import Writing, prepare_material
    from amc_platform.data.sources.flickr30k_entities import IMAGE_FOLDERS, read_flickr30k_entities
    from amc_platform.data.storing import Storing

    annotations = source.annotations or source.raw
    images = source.images or source.raw / IMAGE_FOLDERS[0]
    lists = [source.raw / f"{split}.txt" for split in source.splits]
    for path in (*lists, annotations / "Annotations", annotations / "Sentences", images):
        if not path.exists():
            raise InputError(
                f"data.prepare: {path} is not there; put {', '.join(path.name for path in lists)} of Flickr30k "
                f"Entities into {source.raw}, its Annotations/ and Sentences/ into {annotations}, and the photos "
                f"(<id>.jpg) into {images}"
            )
    pictures = Pictures(only_present=source.only_present)
    material = read_flickr30k_entities(source.raw, source.splits, pictures, images, annotations)
    storing = Storing(source.image_size, quality=source.quality or 90)
    try:
        return prepare_material(material, out, Writing(storing, workers=workers), progress).info
    except TooManyRejectedError as error:
        raise InputError(f"data.prepare: {error}") from error


def _scenes(
    source: ScenesSource, out: str | Path, *, workers: int | None, progress: Progress | None
) -> TableInfo:
    return prepare_scenes(
        out,
        train=source.train,
        val=source.val,
        test=source.test,
        unseen=source.unseen,
        iconic=source.iconic,
        image_size=source.image_size,
        seed=source.seed,
        workers=workers,
        progress=progress,
    )


def prepare_scenes(
    out: str | Path,
    *,
    train: int,
    val: int,
    test: int,
    unseen: int,
    iconic: int = 0,
    image_size: int = 64,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TableInfo:
    """Generate the embedded scenes: so many images of `image_size` pixels in each split.

    `workers` processes (None: one a core) make the same bytes as one. Raises InputError for counts
    below zero, for no images at all and for an image size at which shapes cannot be told apart.
    """
    from amc_platform.data.sources.scenes import GENERATOR_VERSION, MIN_IMAGE_SIZE

    sizes = {"train": train, "val": val, "test": test, "unseen": unseen, "iconic": iconic}
    for name, size in sizes.items():
        if size < 0:
            raise InputError(f"data.prepare.{name}: {size} images; give 0 or more")
    if image_size < MIN_IMAGE_SIZE:
        raise InputError(f"data.prepare.image_size: {image_size} pixels; give {MIN_IMAGE_SIZE} or more")
    source = {
        "source": "scenes",
        "generator_version": GENERATOR_VERSION,
        "image_size": image_size,
        "seed": seed,
        **sizes,
    }
    tasks = [
        (seed, split, range(first, min(first + _SCENES_PER_TASK, size)), image_size)
        for split, size in sizes.items()
        for first in range(0, size, _SCENES_PER_TASK)
    ]
    baselines: dict[str, Any] = {}
    rows = _scene_rows(tasks, workers or os.cpu_count() or 1, baselines, progress)
    return write_table(out, rows, source=source, baselines=baselines)


SceneTask = tuple[int, str, range, int]
"""Seed, split, indices, image size."""


def _scene_rows(
    tasks: list[SceneTask], workers: int, baselines: dict[str, Any], progress: Progress | None
) -> Iterator[ImageRow]:
    """Rows in the order of `tasks`; after the last one `baselines` is filled."""
    from amc_platform.data.sources.scenes import Tally

    total = sum(len(indices) for _, _, indices, _ in tasks)
    done, tally = 0, Tally()
    for rows, part in in_processes(_generate, tasks, max(1, min(workers, len(tasks)))):
        tally.merge(part)
        yield from rows
        done += len(rows)
        if progress is not None:
            progress(done, total)
    baselines.update(tally.percentages())


def _generate(task: SceneTask) -> "tuple[list[ImageRow], Tally]":
    from amc_platform.data.sources.scenes import generate

    return generate(*task)
