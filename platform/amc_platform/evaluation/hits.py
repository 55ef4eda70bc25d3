"""Hits: one row a phrase, the record from which every accuracy is counted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.evaluation.protocol import Protocol
from amc_platform.evaluation.statistics import wilson
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
    split: str
    hard: bool
    boxes: tuple[Box, ...]
    point: tuple[int, int]
    """Pointing target (x, y) in pixels of the original image."""
    hit: bool
    score: float
    """Maximum of the heatmap on its own grid."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of phrases with its 95 % Wilson interval; `percent`, `low` and `high` are per cent."""

    hits: int
    total: int
    percent: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, total: int) -> "Accuracy":
        """The accuracy of `hits` out of `total` phrases; 0 per cent, within 0 and 100, of none."""
        low, high = wilson(hits, total)
        return cls(hits, total, 100 * hits / total if total else 0.0, 100 * low, 100 * high)


def accuracy_table(hits: Iterable[Hit]) -> dict[str, Accuracy]:
    """Accuracy by group: `all`, each kind, `hard`, `hard/<kind>`, and each category that is not empty."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for hit in hits:
        groups = {"all", hit.kind}
        if hit.category:
            groups.add(hit.category)
        if hit.hard:
            groups |= {"hard", f"hard/{hit.kind}"}
        for group in groups:
            counts[group][0] += hit.hit
            counts[group][1] += 1
    return {group: Accuracy.of(*counts[group]) for group in sorted(counts)}


def write_hits(path: str | Path, hits: Sequence[Hit], protocol: Protocol) -> None:
    """Atomically write hits as Parquet; rows carry the protocol's hash, the metadata its name."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [hit_record(hit) | {"protocol_hash": protocol.hash} for hit in hits]
    table = pa.Table.from_pylist(rows, schema=_schema().with_metadata({"amc.protocol": protocol.name}))
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def read_hits(path: str | Path) -> list[Hit]:
    """Read what `write_hits` wrote; InputError for a missing file or another kind of file."""
    import pyarrow as pa
    from pyarrow import parquet

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; evaluate first, which writes hits.parquet")
    try:
        rows: list[dict[str, Any]] = parquet.read_table(path, schema=_schema()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: no table of hits ({reason}); give an evaluation's hits.parquet") from error
    return [hit_of_record(row) for row in rows]


def hit_record(hit: Hit) -> dict[str, Any]:
    """A hit as a row of plain values."""
    return {
        "image_id": hit.image_id,
        "phrase_index": hit.phrase_index,
        "text": hit.text,
        "kind": hit.kind,
        "category": hit.category,
        "split": hit.split,
        "hard": hit.hard,
        "point_x": hit.point[0],
        "point_y": hit.point[1],
        "boxes": [list(box) for box in hit.boxes],
        "hit": hit.hit,
        "score": hit.score,
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
        point=(row["point_x"], row["point_y"]),
        hit=row["hit"],
        score=row["score"],
    )


def hit_fields() -> list[Any]:
    """The Arrow fields of a hit, in order."""
    import pyarrow as pa

    return [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("phrase_index", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("hard", pa.bool_(), nullable=False),
        pa.field("point_x", pa.int32(), nullable=False),
        pa.field("point_y", pa.int32(), nullable=False),
        pa.field("boxes", pa.list_(pa.list_(pa.float32(), 4)), nullable=False),
        pa.field("hit", pa.bool_(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([*hit_fields(), pa.field("protocol_hash", pa.string(), nullable=False)])
