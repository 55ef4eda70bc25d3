"""The grounding table: one Parquet file, one row an image with its phrases and their boxes.

Training, evaluation and reports all read this one format; a dataset is supported as soon as its
source yields `ImageRow`s.
"""

import hashlib
import itertools
import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.files import atomic_path

__all__ = ["FORMAT_VERSION", "ImageRow", "Phrase", "TableInfo", "read_info", "read_rows", "write_table"]

FORMAT_VERSION = "1"
ROWS_PER_GROUP = 512


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What the table's metadata say.

    counts: {"images": n, "splits": {split: {"images": n, "phrases": n, "hard": n, "kinds": {kind: n}}}}.
    content_hash: first 16 hex digits of the SHA-256 over all rows, whatever their grouping or compression.
    """

    source: dict[str, Any]
    counts: dict[str, Any]
    baselines: dict[str, Any]
    content_hash: str


def write_table(
    path: str | Path, rows: Iterable[ImageRow], *, source: dict[str, Any], baselines: dict[str, Any] | None
) -> TableInfo:
    """Write `rows` atomically to `path`.

    `rows` are consumed as a stream; `baselines` are looked at after the last row, so that a source may
    fill them while it yields. Raises InputError where there are no rows or the file cannot be written.
    """
    from amc_platform.data import parquet

    path = Path(path)
    stream = iter(rows)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path}: the source gave no images, so no table is written; ask for at least one")
    digest = hashlib.sha256()
    counts: dict[str, Any] = {"images": 0, "splits": {}}
    with atomic_path(path) as temporary, parquet.open_writer(temporary) as writer:
        for group in _batches(itertools.chain([first], stream), ROWS_PER_GROUP):
            for row in group:
                digest.update(_canonical(row))
                _count(row, counts)
            writer.write_batch(parquet.record_batch(group))
        info = TableInfo(source, counts, baselines or {}, digest.hexdigest()[:16])
        writer.add_key_value_metadata(_metadata(info))
    return info


def read_info(path: str | Path) -> TableInfo:
    """The table's metadata, without reading its rows.

    Raises InputError where the file is missing, is no grounding table or has another format version.
    """
    from amc_platform.data import parquet

    with parquet.open_table(Path(path)) as file:
        return _info(path, *parquet.description(file))


def read_rows(
    path: str | Path, *, splits: Collection[str] | None = None, kinds: Collection[str] | None = None
) -> list[ImageRow]:
    """Rows with only the phrases of `splits` and `kinds` (None: all); images left without any are dropped.

    Raises InputError where nothing is left, naming what the table holds.
    """
    from amc_platform.data import parquet

    texts: dict[str, str] = {}
    rows: list[ImageRow] = []
    with parquet.open_table(Path(path)) as file:
        info = _info(path, *parquet.description(file))
        for group in range(file.num_row_groups):
            rows.extend(parquet.read_group(file, group, splits, kinds, texts))
    if not rows:
        wanted = [f"split {sorted(splits)}"] if splits is not None else []
        wanted += [f"kind {sorted(kinds)}"] if kinds is not None else []
        held = "; ".join(f"{split}: {', '.join(at['kinds'])}" for split, at in info.counts["splits"].items())
        raise InputError(
            f"{path}: no phrase of {' and '.join(wanted) or 'any kind'}; it holds {held or 'none'}"
        )
    return rows


def _info(path: str | Path, stored: Mapping[str, bytes], columns: Sequence[str]) -> TableInfo:
    from amc_platform.data import parquet

    keys = ("format_version", "source", "counts", "baselines", "content_hash")
    missing = [f"amc.{key}" for key in keys if f"amc.{key}" not in stored]
    missing += [name for name in parquet.SCHEMA.names if name not in columns]
    if missing:
        raise InputError(
            f"{path}: not a grounding table (no {', '.join(missing)}); make it with `amc prepare`"
        )
    version, source, counts, baselines, content_hash = (_value(path, f"amc.{key}", stored) for key in keys)
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format version {version}, this program reads {FORMAT_VERSION}; prepare it again"
        )
    return TableInfo(source, counts, baselines, content_hash)


def _value(path: str | Path, key: str, stored: Mapping[str, bytes]) -> Any:
    try:
        return json.loads(stored[key])
    except ValueError as error:
        raise InputError(f"{path}: the metadata {key} are not JSON ({error}); prepare it again") from error


def _metadata(info: TableInfo) -> dict[str, str]:
    return {
        "amc.format_version": json.dumps(FORMAT_VERSION),
        "amc.source": json.dumps(info.source, sort_keys=True),
        "amc.counts": json.dumps(info.counts),
        "amc.baselines": json.dumps(info.baselines),
        "amc.content_hash": json.dumps(info.content_hash),
    }


def _batches(rows: Iterable[ImageRow], size: int) -> Iterator[list[ImageRow]]:
    stream = iter(rows)
    while group := list(itertools.islice(stream, size)):
        yield group


def _canonical(row: ImageRow) -> bytes:
    """Bytes that are equal exactly where two rows say the same; boxes as the float32 that are stored."""
    phrases = [
        [p.text, [struct.pack("<4f", *box).hex() for box in p.boxes], p.kind, p.category, p.split, p.hard]
        for p in row.phrases
    ]
    head = json.dumps([row.image_id, row.width, row.height, phrases, sorted(row.also_true), len(row.image)])
    return head.encode() + b"\n" + row.image + b"\n"


def _count(row: ImageRow, counts: dict[str, Any]) -> None:
    counts["images"] += 1
    for split in dict.fromkeys(phrase.split for phrase in row.phrases):
        at = counts["splits"].setdefault(split, {"images": 0, "phrases": 0, "hard": 0, "kinds": {}})
        at["images"] += 1
    for phrase in row.phrases:
        at = counts["splits"][phrase.split]
        at["phrases"] += 1
        at["hard"] += int(phrase.hard)
        at["kinds"][phrase.kind] = at["kinds"].get(phrase.kind, 0) + 1
