"""From what a source says to a table of parts on disk: images in parallel, parts of even size, resumed after a kill."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from amc_models.errors import InputError
from amc_platform.data.baselines import PointTally
from amc_platform.data.material import ImageTask, Material, Rejected
from amc_platform.data.places import Place
from amc_platform.data.pools import in_processes
from amc_platform.data.rejected import count_rejected, list_rejected
from amc_platform.data.rows import ImageRow
from amc_platform.data.storing import ImageFile, Storing, Unreadable, encode_files
from amc_platform.data.table import (
    MANIFEST,
    TableInfo,
    Tally,
    canonical_bytes,
    read_info,
    read_rows,
    write_manifest,
    write_table,
)

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

ROWS_PER_GROUP = 64
"""Few, so that a loader can read one group for one image."""
_IMAGES_PER_TASK = 32


@dataclass(frozen=True, slots=True)
class Writing:
    """How a table is written. max_rejected: part of the images, of the texts and of the boxes that may be rejected."""

    storing: Storing = field(default_factory=Storing)
    shard_bytes: int = 256_000_000
    workers: int | None = None
    on_ray: bool = False
    max_rejected: float = 0.001


class Prepared(NamedTuple):
    """A finished table. counts: the source's own, of the images in the table."""

    table: str
    was_there: bool
    info: TableInfo
    counts: dict[str, Any]
    rejected: dict[str, int]
    rejected_file: str


def prepare_material(
    material: Material, out: str | Path, writing: Writing, progress: Progress | None = None
) -> Prepared:
    """Read the images of `material` and write the table `out`, a folder of parts.

    Which rows a part holds follows from the material, the storing and `shard_bytes`, not from the workers: killed and
    run again, finished parts are verified and kept. A finished table is left as it is. Raises TooManyRejectedError
    (before images are read, and after every part), and InputError where `out` holds another table or no image is left.
    """
    place = Place.of(out)
    if place.exists() and not place.is_dir():
        raise InputError(f"{place}: is a file, and this table becomes a folder; choose another --out")
    bare = [task for task in material.tasks if not task.phrases]
    if bare:
        material.counts["images_without_phrases"] += len(bare)
    writer = _Writer(material, place, writing)
    there = place.join(MANIFEST).exists()
    info = read_info(place) if there else writer.write(progress)
    if differing := writer.differing(info.source):
        raise InputError(f"{place}: holds another table ({differing}); delete it, or choose another --out")
    source = info.source
    return Prepared(str(place), there, info, source["counts"], source["rejected"], str(writer.list_place))


class _Writer:
    def __init__(self, material: Material, place: Place, writing: Writing) -> None:
        self.material, self.place, self.writing = material, place, writing
        self.list_place = place.renamed(".rejected.parquet")
        self.tasks = [task for task in material.tasks if task.phrases]
        storing = writing.storing
        source = {
            **material.source,
            "images": any(task.path for task in self.tasks),
            "image_size": storing.image_size,
            "fit": storing.fit if storing.image_size else None,
            "quality": storing.quality if storing.image_size else None,
            "shard_bytes": writing.shard_bytes,
        }
        # As it is read back: no tuples.
        self.source: dict[str, Any] = json.loads(json.dumps(source))
        self.rejected: list[Rejected] = list(material.rejected)
        self.whole = Tally()
        self.baselines = PointTally()

    def write(self, progress: Progress | None) -> TableInfo:
        """Write the parts that are not there yet, and the manifest."""
        self._check_rejected()
        names, done = self._finished_parts()
        with closing(_rows(self.tasks[done:], self.writing)) as rows:
            while done < len(self.tasks):
                # Filled while the part's rows are consumed, stored behind them.
                part: dict[str, Any] = {}
                stream = self._part(rows, done, part, progress)
                first = next(stream, None)
                if first is not None:
                    names.append(f"part-{len(names):05d}.parquet")
                    write_table(
                        self.place.join(names[-1]),
                        itertools.chain([first], stream),
                        source=part,
                        baselines=None,
                        rows_per_group=ROWS_PER_GROUP,
                        whole=self.whole,
                    )
                done = part["tasks"][1]
                self._check_rejected()
        if not names:
            raise InputError(f"{self.place}: no image is left, see {self.list_place}; no table is written")
        rejected, counts = count_rejected(self.rejected), self._counts()
        source = {**self.source, "counts": counts, "rejected": rejected}
        info = self.whole.info(source, self.baselines.percentages())
        write_manifest(self.place, info, names)
        return info

    def differing(self, source: dict[str, Any]) -> str:
        """In what `source`, of a table or a part that is there, differs from what is to be written; "" in nothing."""
        differing = [name for name in self.source if source.get(name) != self.source[name]]
        return ", ".join(f"{name}: {source.get(name)}, not {self.source[name]}" for name in differing)

    def _part(
        self, rows: Iterator[ImageRow | Rejected], done: int, part: dict[str, Any], progress: Progress | None
    ) -> Iterator[ImageRow]:
        """Rows until the part is large enough; `part` says then what it holds."""
        size, start = 0, done
        rejected: list[Rejected] = []
        while size < self.writing.shard_bytes and (row := next(rows, None)) is not None:
            done += 1
            if isinstance(row, Rejected):
                rejected.append(row)
            else:
                self.baselines.add(row)
                size += len(row.image) + sum(len(p.text) + 16 * len(p.boxes) for p in row.phrases)
                yield row
            if progress is not None:
                progress(done, len(self.tasks))
        self.rejected += rejected
        part.update({**self.source, "tasks": [start, done], "rejected": rejected})

    def _finished_parts(self) -> tuple[list[str], int]:
        """Names of the parts that an earlier run finished, and how many tasks they cover."""
        there = set(self.place.names())
        if self.place.is_local:
            for leftover in Path(self.place.path).glob(".part-*.tmp"):
                leftover.unlink()
        names: list[str] = []
        done = 0
        while (name := f"part-{len(names):05d}.parquet") in there:
            part = self.place.join(name)
            try:
                info = read_info(part)
            except InputError:
                break  # an upload that did not end; written again
            differing = self.differing(info.source)
            start, stop = info.source.get("tasks", (-1, -1))
            if not differing and (start != done or not self._holds(part, self.tasks[start:stop])):
                differing = "other annotations"
            if differing:
                raise InputError(
                    f"{part}: begun with {differing}; delete {self.place}, or choose another --out"
                )
            self.rejected += [Rejected(*entry) for entry in info.source["rejected"]]
            names.append(name)
            done = stop
        return names, done

    def _holds(self, part: Place, tasks: list[ImageTask]) -> bool:
        """Whether the rows of `part` are those of `tasks`; they are added to the tally."""
        expected = {task.image_id: task for task in tasks}
        for row in read_rows(part):
            task = expected.get(row.image_id)
            canonical = canonical_bytes(row)
            if task is None or canonical_bytes(_row(task, row.image)) != canonical:
                return False
            self.whole.add(row, canonical)
            self.baselines.add(row)
        return True

    def _check_rejected(self) -> None:
        seen = {what: self.material.seen[what] for what in ("image", "text", "box")}
        list_rejected(self.list_place, self.rejected, seen, self.writing.max_rejected)

    def _counts(self) -> dict[str, Any]:
        """The source's counts without those of images that could not be read; "a/b" becomes b under a."""
        gone = {entry.image_id for entry in self.rejected[len(self.material.rejected) :]}
        total: Counter[str] = Counter()
        for task in self.material.tasks:
            if task.image_id not in gone:
                total.update(task.counts)
        total.update(self.material.counts)
        counts: dict[str, Any] = {}
        for name, count in total.items():
            group, _, member = name.rpartition("/")
            (counts.setdefault(group, {}) if group else counts)[member] = count
        return counts


def _rows(tasks: list[ImageTask], writing: Writing) -> Generator[ImageRow | Rejected]:
    """Rows of `tasks` in their order, images read by many workers; `Rejected` for those that cannot be."""
    groups = [tasks[i : i + _IMAGES_PER_TASK] for i in range(0, len(tasks), _IMAGES_PER_TASK)]
    files = [
        [ImageFile(task.path, task.width, task.height) for task in group if task.path] for group in groups
    ]
    function = partial(encode_files, storing=writing.storing)
    results: Iterator[Sequence[bytes | Unreadable]]
    if not any(files):
        results = iter([[b""] * len(group) for group in groups])
    elif writing.on_ray:
        from amc_platform.data.ray_pool import on_ray

        results = on_ray(function, files, writing.workers)
    else:
        workers = writing.workers or len(os.sched_getaffinity(0))
        results = in_processes(function, files, min(workers, len(files)))
    for group, images in zip(groups, results, strict=True):
        for task, image in zip(group, images, strict=True):
            if isinstance(image, Unreadable):
                yield Rejected("image", task.image_id, task.path or "", image.reason)
            else:
                yield _row(task, image)


def _row(task: ImageTask, image: bytes) -> ImageRow:
    return ImageRow(task.image_id, image, task.width, task.height, task.phrases, task.also_true, task.origins)
