"""Galleries: a few fixed phrases whose heatmaps are kept, so that steps and rows can be set side by side."""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from amc_models.errors import InputError
from amc_platform.data.table import ImageRow
from amc_platform.evaluation.hits import Hit, hit_fields, hit_of_record, hit_record
from amc_platform.evaluation.overlay import heatmap_overlay
from amc_platform.files import atomic_path

TABLE = "gallery.parquet"


@dataclass(frozen=True, slots=True)
class Shot:
    """One phrase of a gallery: the encoded image, how the phrase was scored, and its heatmap."""

    hit: Hit
    image: bytes
    heatmap: Float[np.ndarray, "grid_h grid_w"]


def gallery_rows(rows: Sequence[ImageRow], count: int) -> list[ImageRow]:
    """Up to `count` rows with one phrase each: kinds in turn, hard before easy, an image once where possible.

    The choice depends on the phrases alone (a hash orders them), not on weights, seed or the order of rows.
    """
    queues: dict[tuple[bool, str], list[tuple[str, ImageRow]]] = {}
    for row in rows:
        for phrase in row.phrases:
            order = hashlib.sha256(f"{row.image_id}\n{phrase.text}".encode()).hexdigest()
            queue = queues.setdefault((not phrase.hard, phrase.kind), [])
            queue.append((order, replace(row, phrases=(phrase,))))
    turns = [[row for _, row in sorted(queues[key], key=lambda entry: entry[0])] for key in sorted(queues)]
    chosen: list[ImageRow] = []
    used: set[str] = set()
    while len(chosen) < count and any(turns):
        for turn in turns:
            if turn and len(chosen) < count:
                place = next((index for index, row in enumerate(turn) if row.image_id not in used), 0)
                chosen.append(turn.pop(place))
                used.add(chosen[-1].image_id)
    return chosen


def draw_shot(shot: Shot, *, caption: bool = True, heatmap: bool = True, side: int = 256) -> Image.Image:
    """The shot as a PIL image; without `heatmap` only the image and its true boxes."""
    return heatmap_overlay(
        Image.open(io.BytesIO(shot.image)),
        shot.heatmap if heatmap else None,
        shot.hit.boxes,
        shot.hit.point if heatmap else None,
        shot.hit.text if caption else "",
        shot.hit.hit if heatmap else None,
        side=side,
        original=shot.hit.size,
    )


def write_gallery(folder: str | Path, shots: Sequence[Shot]) -> list[Path]:
    """Write one PNG a shot, and `gallery.parquet` from which a report draws them anew.

    The folder is replaced as a whole. Returns the PNGs in order.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names: list[str] = []
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for number, shot in enumerate(shots, start=1):
            slug = re.sub(r"[^a-z0-9]+", "-", shot.hit.text.lower()).strip("-")[:40]
            names.append(f"{number:02d}-{shot.hit.kind}{'-hard' if shot.hit.hard else ''}-{slug}.png")
            draw_shot(shot).save(temporary / names[-1])
        records = [
            hit_record(shot.hit) | {"image": shot.image, "heatmap": shot.heatmap.tolist()} for shot in shots
        ]
        parquet.write_table(pa.Table.from_pylist(records, schema=_schema()), temporary / TABLE)
    return [Path(folder) / name for name in names]


def read_gallery(folder: str | Path) -> list[Shot]:
    """The shots that `write_gallery` wrote, in order; InputError where there are none."""
    import pyarrow as pa
    from pyarrow import parquet

    path = Path(folder) / TABLE
    if not path.is_file():
        raise InputError(f"{path}: no such file; evaluate with evaluation.gallery above 0, which writes it")
    try:
        # Not `read_table`, which imports pandas.
        with parquet.ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read().cast(_schema()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise InputError(f"{path}: not a gallery ({str(error).splitlines()[0]}); evaluate again") from error
    return [
        Shot(hit_of_record(row), row["image"], np.array(row["heatmap"], dtype=np.float32)) for row in rows
    ]


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            *hit_fields(),
            pa.field("image", pa.binary(), nullable=False),
            pa.field("heatmap", pa.list_(pa.list_(pa.float32())), nullable=False),
        ]
    )
