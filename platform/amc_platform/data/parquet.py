"""Grounding rows to Arrow and back. Imports pyarrow, so `table` loads this only when it reads or writes."""

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.places import Place
from amc_platform.data.rows import ImageRow, Phrase

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("image", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        (
            "phrases",
            pa.list_(
                pa.struct(
                    [
                        ("text", pa.string()),
                        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
                        ("kind", pa.string()),
                        ("category", pa.string()),
                        ("split", pa.string()),
                        ("hard", pa.bool_()),
                    ]
                )
            ),
        ),
        ("also_true", pa.list_(pa.string())),
        ("origins", pa.list_(pa.string())),
    ]
)
REQUIRED = [name for name in SCHEMA.names if name != "origins"]
"""Tables made before the others was thought of are read as well."""
# Any: pyarrow's signature infers bool for what may also be names of columns.
_REPETITIVE: Any = [
    *(f"phrases.list.element.{name}" for name in ("text", "kind", "category", "split")),
    "also_true.list.element",
    "origins.list.element",
]
_NUMBERS = (
    "width",
    "height",
    "phrases.list.element.boxes.list.element.list.element",
    "phrases.list.element.hard",
)
# Images are compressed already.
_CODECS: Any = {"image": "none", **dict.fromkeys(["image_id", *_NUMBERS, *_REPETITIVE], "zstd")}


def open_writer(path: Path) -> pq.ParquetWriter:
    """A writer of grounding rows; what differs from row to row, images above all, gets no dictionary."""
    return pq.ParquetWriter(path, SCHEMA, compression=_CODECS, use_dictionary=_REPETITIVE)


def open_table(place: Place) -> pq.ParquetFile:
    """An open table of any Parquet schema. Raises InputError where `place` is missing or not Parquet."""
    if not place.exists() or place.is_dir():
        raise InputError(f"{place}: no such grounding table; make it with `amc prepare`")
    try:
        return pq.ParquetFile(place.path, filesystem=place.filesystem)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"{place}: cannot be read as Parquet ({reason}); make it with `amc prepare`"
        ) from error


def description(file: pq.ParquetFile) -> tuple[dict[str, bytes], list[str]]:
    """The file's metadata and the names of its columns."""
    stored: dict[bytes, bytes] = file.metadata.metadata or {}
    return {key.decode(): value for key, value in stored.items()}, list(file.schema_arrow.names)


def record_batch(rows: list[ImageRow]) -> Any:
    """`rows` as one Arrow batch."""
    records = [
        {
            "image_id": row.image_id,
            "image": row.image,
            "width": row.width,
            "height": row.height,
            "phrases": [
                {
                    "text": phrase.text,
                    "boxes": phrase.boxes,
                    "kind": phrase.kind,
                    "category": phrase.category,
                    "split": phrase.split,
                    "hard": phrase.hard,
                }
                for phrase in row.phrases
            ],
            "also_true": sorted(row.also_true),
            "origins": row.origins,
        }
        for row in rows
    ]
    return pa.RecordBatch.from_pylist(records, schema=SCHEMA)


def read_group(
    file: pq.ParquetFile,
    group: int,
    splits: Collection[str] | None,
    kinds: Collection[str] | None,
    texts: dict[str, str],
) -> Iterator[ImageRow]:
    """Rows of one row group that keep at least one phrase of `splits` and `kinds` (None: all).

    `texts` collects the strings seen, so that equal texts of many rows are one object in memory.
    The other columns, the images above all, are read only where a row is kept.
    """
    phrases = _phrases(file.read_row_group(group, columns=["phrases"]).column("phrases"), splits, kinds)
    if not any(phrases):
        return
    # Of the names, a file that is older than `origins` has the others.
    columns = ["image_id", "image", "width", "height", "also_true", "origins"]
    table = file.read_row_group(group, columns=columns)
    ids, widths, heights = (table.column(name).to_pylist() for name in ("image_id", "width", "height"))
    images = table.column("image")
    also_true = table.column("also_true").combine_chunks()
    encoded = also_true.flatten().dictionary_encode()
    words = [texts.setdefault(text, text) for text in encoded.dictionary.to_pylist()]
    true_texts = [words[i] for i in encoded.indices.to_numpy()]
    starts = also_true.offsets.to_numpy() - also_true.offsets[0].as_py()
    origins = table.column("origins").to_pylist() if "origins" in table.column_names else [()] * len(ids)
    for row, kept in enumerate(phrases):
        if kept:
            true_here = frozenset(true_texts[starts[row] : starts[row + 1]])
            yield ImageRow(
                ids[row], images[row].as_py(), widths[row], heights[row], kept, true_here, tuple(origins[row])
            )


def _phrases(
    column: Any, splits: Collection[str] | None, kinds: Collection[str] | None
) -> list[tuple[Phrase, ...]]:
    """The kept phrases of each row of `column`; built from flat columns, as structs convert slowly."""
    lists = column.combine_chunks()
    starts = lists.offsets.to_numpy() - lists.offsets[0].as_py()
    names = [field.name for field in lists.type.value_type]
    fields = dict(zip(names, lists.flatten().flatten(), strict=True))
    boxes = fields["boxes"]
    corners = boxes.flatten().flatten().to_numpy().reshape(-1, 4).tolist()
    box_starts = boxes.offsets.to_numpy() - boxes.offsets[0].as_py()
    columns = {name: values.to_pylist() for name, values in fields.items() if name != "boxes"}
    rows: list[tuple[Phrase, ...]] = []
    for first, last in itertools.pairwise(starts.tolist()):
        rows.append(
            tuple(
                Phrase(
                    columns["text"][i],
                    tuple(Box(*corner) for corner in corners[box_starts[i] : box_starts[i + 1]]),
                    columns["kind"][i],
                    columns["category"][i],
                    columns["split"][i],
                    columns["hard"][i],
                )
                for i in range(first, last)
                if (splits is None or columns["split"][i] in splits)
                and (kinds is None or columns["kind"][i] in kinds)
            )
        )
    return rows
