"""Boxes that others found: proposals of a detector for each image, or one box for each phrase."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.rows import ImageRow, Phrase


def is_boxes_file(path: Path) -> bool:
    """Whether `path` is by its name a file of boxes and no checkpoint."""
    return path.suffix in (".json", ".parquet")


@dataclass(frozen=True)
class Proposals:
    """The boxes of a detector, by image, in the order of the file."""

    by_image: Mapping[str, Sequence[Box]]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A list of `{"image_id", "box": [x, y, w, h], ...}` as MAttNet's `dets.json`, or such Parquet."""
        found: dict[str, list[Box]] = defaultdict(list)
        for image_id, box, _ in _entries(path):
            found[image_id].append(box)
        return cls(dict(found))

    def of(self, row: ImageRow) -> Sequence[Box]:
        """The boxes of the row's image, found by its id here or in the collection it came from; maybe none."""
        return next((self.by_image[name] for name in _ids(row) if name in self.by_image), ())

    def check(self, rows: Sequence[ImageRow]) -> None:
        """Raises InputError where no image of the table has a proposal: its ids are of another kind."""
        if not any(self.of(row) for row in rows):
            raise InputError(
                f"proposals: no box is of an image of the table (image {rows[0].image_id} for one; the boxes are of"
                f" {', '.join(list(self.by_image)[:3]) or 'none'}); give boxes with the table's image ids"
            )


@dataclass(frozen=True)
class BestBoxes:
    """The one box that a detector gives for each phrase."""

    by_phrase: Mapping[tuple[str, str], Box]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A list of `{"image_id", "text", "box": [x, y, w, h]}`, or Parquet with these columns."""
        boxes: dict[tuple[str, str], Box] = {}
        for image_id, box, entry in _entries(path):
            if not isinstance(entry.get("text"), str):
                raise InputError(f"{path}: image {image_id}: text: missing; write the phrase the box is for")
            if boxes.setdefault((image_id, entry["text"]), box) != box:
                raise InputError(f"{path}: image {image_id}: two boxes for {entry['text']!r}; keep the best")
        return cls(boxes)

    def of(self, row: ImageRow, phrase: Phrase) -> Box | None:
        """The box for a phrase of the row's image; None where the detector gave none."""
        keys = ((name, phrase.text) for name in _ids(row))
        return next((self.by_phrase[key] for key in keys if key in self.by_phrase), None)


def _ids(row: ImageRow) -> list[str]:
    return [row.image_id, *(origin.partition(":")[2] for origin in row.origins)]


def _entries(path: str | Path) -> list[tuple[str, Box, dict[str, Any]]]:
    """Image, box and all fields of each entry of a JSON or Parquet file."""
    found: list[tuple[str, Box, dict[str, Any]]] = []
    for index, entry in enumerate(_read(Path(path))):
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise InputError(f"{path}: entry {index}: image_id: missing; write the image a box belongs to")
        box: Any = entry.get("box")
        numbers = isinstance(box, list) and all(isinstance(edge, int | float) for edge in box)
        if not numbers or len(box) != 4 or not all(map(math.isfinite, box)):
            raise InputError(f"{path}: entry {index}: box: must be [x, y, width, height] in pixels")
        x, y, width, height = map(float, box)
        found.append((str(entry["image_id"]), Box(x, y, x + width, y + height), entry))
    return found


def _read(path: Path) -> list[Any]:
    try:
        if path.suffix == ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            try:
                return parquet.read_table(path).to_pylist()
            except pa.ArrowInvalid as error:
                raise ValueError(str(error).splitlines()[0]) from error
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as boxes ({error}); give a JSON list or Parquet") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: must be a list of boxes, as MAttNet's dets.json")
    return entries
