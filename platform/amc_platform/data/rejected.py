"""What could not be used: the list beside the table, and how much of it is too much."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from amc_platform.data.material import Rejected
from amc_platform.data.places import Place

_SCHEMA = pa.schema([(name, pa.string()) for name in ("what", "image_id", "item", "reason")])
_NAMES = {"image": "images", "text": "texts", "box": "boxes"}
_SHOWN = 3


class TooManyRejectedError(Exception):
    """More was rejected than --max-rejected allows."""


def count_rejected(rejected: Sequence[Rejected]) -> dict[str, int]:
    """How many images, texts and boxes."""
    found = Counter(entry.what for entry in rejected)
    return {name: found[what] for what, name in _NAMES.items()}


def list_rejected(
    place: Place, rejected: Sequence[Rejected], seen: Mapping[str, int], max_rejected: float
) -> None:
    """Write all of `rejected` to `place`, one row each: what (image, text, box), image_id, item, reason.

    Raises TooManyRejectedError where of images, of texts or of boxes more than `max_rejected` of those `seen` are among
    them; the list is written all the same.
    """
    columns = (
        dict(zip(_SCHEMA.names, map(list, zip(*rejected, strict=True)), strict=True)) if rejected else {}
    )
    rows = pa.table(columns, _SCHEMA) if rejected else _SCHEMA.empty_table()
    with place.written() as path:
        pq.write_table(rows, path)
    found = Counter(entry.what for entry in rejected)
    for what, name in _NAMES.items():
        if found[what] > max_rejected * seen.get(what, 0):
            part = found[what] / max(1, seen.get(what, 0))
            first = "; ".join(_shown(entry) for entry in [e for e in rejected if e.what == what][:_SHOWN])
            raise TooManyRejectedError(
                f"{found[what]:,} of {seen.get(what, 0):,} {name} cannot be used ({part:.2%}, --max-rejected allows "
                f"{max_rejected:.2%}): {first}; all are listed in {place}: mend the raw files, leave images that "
                "are not there out with --only-present, or raise --max-rejected"
            )


def _shown(entry: Rejected) -> str:
    item = entry.item if len(entry.item) <= 60 else f"{entry.item[:57]}..."
    return f"image {entry.image_id}, {item!r}: {entry.reason}"
