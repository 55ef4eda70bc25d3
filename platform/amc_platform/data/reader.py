"""The rows of a grounding table on demand: texts and boxes stay in memory as Arrow, images on disk.

A row group is the unit of reading: an image costs its whole group, unless the group is still among those kept.
"""

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int

from amc_models.errors import InputError
from amc_platform.data import parquet
from amc_platform.data.boxes import Box
from amc_platform.data.places import Address
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.table import parts, read_info

KEPT_BYTES = 1 << 30
"""Encoded images kept in memory by one reader."""


@dataclass(frozen=True)
class _Group:
    """What is kept of a row group."""

    file: pq.ParquetFile
    number: int
    texts: Any
    """Arrow batch of the kept rows, without images."""
    rows: Int[np.ndarray, " kept"]
    """Their places in the row group."""


class TableRows:
    """Rows with only the phrases of `splits` and `kinds` (None: all); images left without any are dropped.

    Rows come in the table's order, may be asked for in any, and from several threads.
    """

    def __init__(
        self,
        path: Address,
        splits: Collection[str] | None,
        kinds: Collection[str] | None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._path = path
        groups = (
            _read_texts(file, number, splits, kinds)
            for file in map(parquet.open_table, parts(path))
            for number in range(file.num_row_groups)
        )
        self._groups = [group for group in groups if len(group.rows)]
        self._ends = list(itertools.accumulate(len(group.rows) for group in self._groups))
        self._images: OrderedDict[int, Any] = OrderedDict()
        self._bytes, self._kept_bytes = 0, kept_bytes
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> ImageRow:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._ends, index)
        group = self._groups[number]
        row = index - (self._ends[number] - len(group.rows))
        (fields,) = group.texts.slice(row, 1).to_pylist()
        fields["phrases"] = tuple(
            Phrase(**(phrase | {"boxes": tuple(Box(*box) for box in phrase["boxes"])}))
            for phrase in fields["phrases"]
        )
        fields["also_true"] = frozenset(fields["also_true"])
        fields["origins"] = tuple(fields.get("origins", ()))
        return ImageRow(image=self._image(number, int(group.rows[row])), **fields)

    def _image(self, number: int, row: int) -> bytes:
        """The encoded image of a row of group `number`; the groups used last are kept up to `kept_bytes`."""
        with self._lock:
            images = self._images.pop(number, None)
            if images is None:
                images = self._read(self._groups[number])
                self._bytes += images.nbytes
            self._images[number] = images
            while self._bytes > self._kept_bytes and len(self._images) > 1:
                self._bytes -= self._images.popitem(last=False)[1].nbytes
        return images[row].as_py()

    def _read(self, group: _Group) -> Any:
        try:
            return group.file.read_row_group(group.number, columns=["image"]).column("image")
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(
                f"{self._path}: row group {group.number} is damaged ({reason}); prepare it again"
            ) from error


def open_rows(
    path: Address, *, splits: Collection[str] | None = None, kinds: Collection[str] | None = None
) -> TableRows:
    """Rows as `read_rows` gives them, without their images in memory.

    Raises InputError where the table cannot be read or nothing is left, naming what it holds.
    """
    held = read_info(path).counts["splits"]
    rows = TableRows(path, splits, kinds)
    if not len(rows):
        kinds_of = "; ".join(f"{split}: {', '.join(at['kinds'])}" for split, at in held.items())
        asked = ", ".join(sorted(splits or held)) + (f" of kind {', '.join(sorted(kinds))}" if kinds else "")
        raise InputError(f"{path}: no phrase in split {asked}; it holds {kinds_of or 'none'}")
    return rows


def _read_texts(
    file: pq.ParquetFile, number: int, splits: Collection[str] | None, kinds: Collection[str] | None
) -> _Group:
    # Not every table has every column.
    names = [n for n in parquet.SCHEMA.names if n in file.schema_arrow.names and n != "image"]
    table = file.read_row_group(number, columns=names, use_threads=False)
    (batch,) = table.combine_chunks().to_batches()
    lists = batch.column("phrases")
    phrases = lists.flatten()
    fields = dict(zip(phrases.type.names, phrases.flatten(), strict=True))
    keep = np.ones(len(phrases), dtype=bool)
    for name, wanted in (("split", splits), ("kind", kinds)):
        if wanted is not None:
            asked = pa.array(sorted(wanted), pa.string())
            keep &= pc.call_function("is_in", [fields[name]], pc.SetLookupOptions(asked)).to_numpy(
                zero_copy_only=False
            )
    owners = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    left = np.bincount(owners[keep], minlength=len(lists))
    ends = pa.array(np.concatenate([[0], np.cumsum(left)]), pa.int32())
    lists = pa.ListArray.from_arrays(ends, phrases.filter(pa.array(keep)))
    batch = batch.set_column(names.index("phrases"), "phrases", lists)
    return _Group(file, number, batch.filter(pa.array(left > 0)), np.flatnonzero(left))
