"""Hits: one row a phrase, the record from which every accuracy is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.evaluation.protocol import Protocol
from amc_platform.files import atomic_path


@dataclass(frozen=True, slots=True)
class Hit:
    """How one phrase of one image was scored."""

    image_id: str
    phrase_index: int
    """Place of the phrase among the phrases that the image had when it was evaluated."""
    text: str
    kind: str
    category: str
    """As in the table: two categories are parted by "/"."""
    split: str
    hard: bool
    boxes: tuple[Box, ...]
    size: tuple[int, int]
    """Width and height of the original image, in pixels."""
    point: tuple[float, float] | None
    """Pointing target (x, y) in pixels of the original image; None where a detector found nothing."""
    hit: bool
    score: float
    """Maximum of the heatmap on its own grid; it does not depend on the batch."""
    chosen: Box | None = None
    """The best of the proposals; None where there were none, or none scored above 0."""
    recall: bool | None = None
    """Whether `chosen` has an IoU of at least 0.5 with a box; None where no proposals were given at all."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Each of the phrase's categories; it counts in all of them."""
        return tuple(self.category.split("/")) if self.category else ()


def write_hits(path: str | Path, hits: Sequence[Hit], protocol: Protocol) -> None:
    """Atomically write hits as Parquet; the metadata carry the protocol's name and hash, and each row its hash."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [hit_record(hit) | {"protocol_hash": protocol.hash} for hit in hits]
    metadata = {"amc.protocol": protocol.name, "amc.protocol_hash": protocol.hash}
    table = pa.Table.from_pylist(rows, schema=_schema().with_metadata(metadata))
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def read_hits(path: str | Path) -> list[Hit]:
    """Read what `write_hits` wrote; InputError for a missing file or another kind of file."""
    return [hit_of_record(row) for row in _read(path).to_pylist()]


def protocol_of_hits(path: str | Path) -> tuple[str, str]:
    """Name and hash of the protocol under which a file of hits was measured."""
    metadata = _read(path).schema.metadata
    return metadata[b"amc.protocol"].decode(), metadata[b"amc.protocol_hash"].decode()


def _read(path: str | Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; evaluate first, which writes hits.parquet")
    try:
        # Not `read_table`, which imports pandas.
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: no table of hits ({reason}); give an evaluation's hits.parquet") from error
    missing = [name for name in _schema().names if name not in table.column_names]
    if missing or b"amc.protocol_hash" not in (table.schema.metadata or {}):
        lacks = ", ".join(missing) or "its protocol"
        raise InputError(f"{path}: no table of hits of this version (it lacks {lacks}); evaluate again")
    return table


def hit_record(hit: Hit) -> dict[str, Any]:
    """A hit as a row of plain values."""
    x, y = hit.point or (None, None)
    return {
        "image_id": hit.image_id,
        "phrase_index": hit.phrase_index,
        "text": hit.text,
        "kind": hit.kind,
        "category": hit.category,
        "split": hit.split,
        "hard": hit.hard,
        "width": hit.size[0],
        "height": hit.size[1],
        "point_x": x,
        "point_y": y,
        "boxes": [list(box) for box in hit.boxes],
        "hit": hit.hit,
        "score": hit.score,
        "chosen": None if hit.chosen is None else list(hit.chosen),
        "recall": hit.recall,
    }


def hit_of_record(row: dict[str, Any]) -> Hit:
    """The hit that `hit_record` made a row of."""
    return Hit(
        image_id=row["image_id"],
        phrase_index=row["phrase_index"],
        text=row["text"],
        kind=row["kind"],
        category=row["category"],
        split=row["split"],
        hard=row["hard"],
        boxes=tuple(Box(*box) for box in row["boxes"]),
        size=(row["width"], row["height"]),
        point=None if row["point_x"] is None else (row["point_x"], row["point_y"]),
        hit=row["hit"],
        score=row["score"],
        chosen=None if row["chosen"] is None else Box(*row["chosen"]),
        recall=row["recall"],
    )


def hit_fields() -> list[Any]:
    """The Arrow fields of a hit, in order."""
    import pyarrow as pa

    box = pa.list_(pa.float32(), 4)
    return [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("phrase_index", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("hard", pa.bool_(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("point_x", pa.float64()),
        pa.field("point_y", pa.float64()),
        pa.field("boxes", pa.list_(box), nullable=False),
        pa.field("hit", pa.bool_(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        # Not of fixed size: Parquet loses the nulls of such lists.
        pa.field("chosen", pa.list_(pa.float32())),
        pa.field("recall", pa.bool_()),
    ]


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([*hit_fields(), pa.field("protocol_hash", pa.string(), nullable=False)])
