"""The grounding table: Parquet, one row an image with its phrases and their boxes.

Training, evaluation and reports all read this one format; a dataset is supported as soon as its source yields
`ImageRow`s. A table is one file, or a folder of such files (its parts) with `_table.json`, which is written last.
"""

import hashlib
import itertools
import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amc_models.errors import InputError
from amc_platform.data.rows import ImageRow, Phrase

if TYPE_CHECKING:
    from amc_platform.data.places import Place

__all__ = [
    "FORMAT_VERSION",
    "ImageRow",
    "Phrase",
    "TableInfo",
    "Tally",
    "is_table",
    "parts",
    "read_info",
    "read_rows",
    "write_table",
]

FORMAT_VERSION = "1"
ROWS_PER_GROUP = 512
MANIFEST = "_table.json"


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What the table's metadata say.

    counts: {"images": n, "splits": {split: {"images": n, "phrases": n, "hard": n, "kinds": {kind: n}}}}.
    content_hash: first 16 hex digits of the SHA-256 over all rows, whatever their grouping, parts or compression.
    """

    source: dict[str, Any]
    counts: dict[str, Any]
    baselines: dict[str, Any]
    content_hash: str

    @property
    def benchmark(self) -> str:
        """What results on it are called, as in `val/flickr30k/pointing`."""
        return str(self.source["source"]).removesuffix("_entities")


class Tally:
    """Counts and content hash of rows, one after the other."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {"images": 0, "splits": {}}
        self._digest = hashlib.sha256()

    def add(self, row: ImageRow, canonical: bytes) -> None:
        """Count `row`, of which `canonical` are the bytes to hash."""
        self._digest.update(canonical)
        self.counts["images"] += 1
        for split in dict.fromkeys(phrase.split for phrase in row.phrases):
            at = self.counts["splits"].setdefault(split, {"images": 0, "phrases": 0, "hard": 0, "kinds": {}})
            at["images"] += 1
        for phrase in row.phrases:
            at = self.counts["splits"][phrase.split]
            at["phrases"] += 1
            at["hard"] += int(phrase.hard)
            at["kinds"][phrase.kind] = at["kinds"].get(phrase.kind, 0) + 1

    def info(self, source: dict[str, Any], baselines: dict[str, Any] | None = None) -> TableInfo:
        """What a table of these rows says of itself."""
        return TableInfo(source, self.counts, baselines or {}, self._digest.hexdigest()[:16])


def write_table(
    path: "str | Path | Place",
    rows: Iterable[ImageRow],
    *,
    source: dict[str, Any],
    baselines: dict[str, Any] | None,
    rows_per_group: int | None = None,
    whole: Tally | None = None,
) -> TableInfo:
    """Write `rows` atomically as one file at `path`; as a part of a table, they are added to the `whole` table's tally.

    `rows` are consumed as a stream; `source` and `baselines` are looked at after the last row, so that they may
    be filled while rows are yielded. Raises InputError where there are no rows or the file cannot be written.
    """
    from amc_platform.data import parquet
    from amc_platform.data.places import Place

    place = Place.of(path)
    stream = iter(rows)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path}: the source gave no images, so no table is written; ask for at least one")
    tally = Tally()
    with place.written() as temporary, parquet.open_writer(temporary) as writer:
        for group in _batches(itertools.chain([first], stream), rows_per_group or ROWS_PER_GROUP):
            for row in group:
                canonical = canonical_bytes(row)
                for each in (tally, whole) if whole else (tally,):
                    each.add(row, canonical)
            writer.write_batch(parquet.record_batch(group))
        info = tally.info(source, baselines)
        writer.add_key_value_metadata(_metadata(info))
    return info


def write_manifest(folder: "Place", info: TableInfo, names: Sequence[str]) -> None:
    """Make the files `names` in `folder` one table."""
    value = {"format_version": FORMAT_VERSION, **asdict(info), "parts": list(names)}
    with folder.join(MANIFEST).written() as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_info(path: "str | Path | Place") -> TableInfo:
    """The table's metadata, without reading its rows.

    Raises InputError where the file is missing, is no grounding table or has another format version.
    """
    from amc_platform.data import parquet
    from amc_platform.data.places import Place

    place = Place.of(path)
    if place.is_dir():
        return _manifest(place)[0]
    with parquet.open_table(place) as file:
        return _info(path, *parquet.description(file))


def is_table(path: "str | Path | Place") -> bool:
    """Whether a finished table is there: a file, or a folder with the list of its parts."""
    from amc_platform.data.places import Place

    place = Place.of(path)
    return place.join(MANIFEST).exists() if place.is_dir() else place.exists()


def parts(path: "str | Path | Place") -> "list[Place]":
    """The files of the table in order, each a grounding table of its own; one, where the table is a file."""
    from amc_platform.data.places import Place

    place = Place.of(path)
    return [place.join(name) for name in _manifest(place)[1]] if place.is_dir() else [place]


def read_rows(
    path: "str | Path | Place", *, splits: Collection[str] | None = None, kinds: Collection[str] | None = None
) -> list[ImageRow]:
    """Rows with only the phrases of `splits` and `kinds` (None: all); images left without any are dropped.

    Raises InputError where nothing is left, naming what the table holds.
    """
    from amc_platform.data import parquet

    texts: dict[str, str] = {}
    rows: list[ImageRow] = []
    for part in parts(path):
        with parquet.open_table(part) as file:
            _info(part, *parquet.description(file))
            for group in range(file.num_row_groups):
                rows.extend(parquet.read_group(file, group, splits, kinds, texts))
    if not rows:
        wanted = [f"split {sorted(splits)}"] if splits is not None else []
        wanted += [f"kind {sorted(kinds)}"] if kinds is not None else []
        counts = read_info(path).counts
        held = "; ".join(f"{split}: {', '.join(at['kinds'])}" for split, at in counts["splits"].items())
        raise InputError(
            f"{path}: no phrase of {' and '.join(wanted) or 'any kind'}; it holds {held or 'none'}"
        )
    return rows


def _manifest(folder: "Place") -> tuple[TableInfo, list[str]]:
    """What a table in several parts says of itself, and the names of its parts."""
    place = folder.join(MANIFEST)
    if not place.exists():
        raise InputError(
            f"{folder}: no such grounding table (a folder without {MANIFEST}); make it with `amc prepare`, "
            "or finish it with the same command"
        )
    try:
        stored = json.loads(place.read_bytes())
        version = stored.pop("format_version")
        names = stored.pop("parts")
        info = TableInfo(**stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{place}: not the list of a table's parts ({error}); prepare it again") from error
    _check_version(folder, version)
    return info, names


def _info(path: object, stored: Mapping[str, bytes], columns: Sequence[str]) -> TableInfo:
    from amc_platform.data import parquet

    keys = ("format_version", "source", "counts", "baselines", "content_hash")
    missing = [f"amc.{key}" for key in keys if f"amc.{key}" not in stored]
    missing += [name for name in parquet.REQUIRED if name not in columns]
    if missing:
        raise InputError(
            f"{path}: not a grounding table (no {', '.join(missing)}); make it with `amc prepare`"
        )
    version, source, counts, baselines, content_hash = (_value(path, f"amc.{key}", stored) for key in keys)
    _check_version(path, version)
    return TableInfo(source, counts, baselines, content_hash)


def _check_version(path: object, version: str) -> None:
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format version {version}, this program reads {FORMAT_VERSION}; prepare it again"
        )


def _value(path: object, key: str, stored: Mapping[str, bytes]) -> Any:
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


def canonical_bytes(row: ImageRow) -> bytes:
    """Bytes that are equal exactly where two rows say the same; boxes as the float32 that are stored."""
    phrases = [
        [p.text, [struct.pack("<4f", *box).hex() for box in p.boxes], p.kind, p.category, p.split, p.hard]
        for p in row.phrases
    ]
    facts = [row.image_id, row.width, row.height, phrases, sorted(row.also_true), len(row.image)]
    # Rows without origins hash as they did before there were origins.
    head = json.dumps([*facts, row.origins] if row.origins else facts)
    return head.encode() + b"\n" + row.image + b"\n"
