"""What is wrong with a grounding table, and the remedy."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from amc_platform.data.checks import (
    AGAINST_CHECKS,
    ROW_CHECKS,
    TABLE_CHECKS,
    Picture,
    RowCheck,
    Seen,
    TableCheck,
)
from amc_platform.data.phash import look
from amc_platform.data.places import Address, Place
from amc_platform.data.published_counts import Comparison, compare
from amc_platform.data.rows import ImageRow
from amc_platform.data.stream import stream_rows
from amc_platform.data.table import TableInfo, Tally, canonical_bytes, parts, read_info

EXAMPLES = 3


@dataclass
class Finding:
    """How often something was found, and what of it came first; a note (`fault` False) leaves the table fine."""

    check: str
    remedy: str
    fault: bool
    count: int = 0
    examples: list[str] = field(default_factory=list[str])

    def add(self, cases: Iterator[str]) -> None:
        """Count `cases`."""
        for case in cases:
            self.count += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(case)


@dataclass(frozen=True)
class Report:
    """What a table holds and what was found in it, every check once."""

    info: TableInfo
    published: list[Comparison]
    findings: list[Finding]

    @property
    def fine(self) -> bool:
        """Whether nothing needs a remedy."""
        return not any(finding.count and finding.fault for finding in self.findings)


def examine(table: Address, against: Address | None = None) -> Report:
    """Every check of `table`, and with `against`, another table, what one trains on and the other tests on.

    Reads every row and decodes every image, a row group at a time. Raises InputError where a table cannot be read.
    """
    info = read_info(table)
    by_row = [(check, _finding(check)) for check in ROW_CHECKS]
    tally, seen = Tally(), list[Seen]()
    for row in stream_rows(table):
        tally.add(row, canonical_bytes(row))
        picture = _look(row) if _has_images(info) else None
        for check, finding in by_row:
            finding.add(check.find(row, picture))
        seen.append(_seen(row, picture, info, ""))
    together = [(check, _finding(check)) for check in TABLE_CHECKS]
    for check, finding in together:
        finding.add(check.find(seen))
    if against is not None:
        seen += _other(against)
        for check in AGAINST_CHECKS:
            together.append((check, _finding(check)))
            together[-1][1].add(check.find(seen))
    metadata = Finding("metadata that differ from the rows", "prepare the table again", fault=True)
    metadata.add(_wrong_metadata(table, info, tally))
    findings = [metadata, *(finding for _, finding in [*by_row, *together])]
    return Report(info, compare(info), findings)


def _other(table: Address) -> Iterator[Seen]:
    info = read_info(table)
    for row in stream_rows(table):
        yield _seen(row, _look(row) if _has_images(info) else None, info, str(table))


def _finding(check: RowCheck | TableCheck) -> Finding:
    return Finding(check.name, check.remedy, check.fault)


def _has_images(info: TableInfo) -> bool:
    return info.source.get("images", True)


def _look(row: ImageRow) -> Picture:
    if not row.image:
        return Picture("no bytes")
    try:
        with Image.open(io.BytesIO(row.image)) as image:
            width, height = image.size
            return Picture("", width, height, look(image))
    # Decoders raise nearly anything for broken bytes: OSError, SyntaxError, struct.error, DecompressionBombError.
    except Exception as error:
        return Picture(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _seen(row: ImageRow, picture: Picture | None, info: TableInfo, table: str) -> Seen:
    splits = dict.fromkeys(phrase.split for phrase in row.phrases)
    names = (f"{info.source.get('source', table)}:{row.image_id}", *row.origins)
    places = tuple((table, split) for split in splits)
    return Seen(row.image_id, names, places, picture.look if picture else b"")


def _wrong_metadata(table: Address, info: TableInfo, tally: Tally) -> Iterator[str]:
    rows = sum(_rows(part) for part in parts(table))
    if rows != tally.counts["images"]:
        yield f"{rows - tally.counts['images']} rows have no phrase"
    counted = tally.info(info.source)
    if counted.counts != info.counts:
        yield "the counts are not those of the rows"
    if counted.content_hash != info.content_hash:
        yield f"the content hash {info.content_hash} is not that of the rows, {counted.content_hash}"


def _rows(part: Place) -> int:
    from amc_platform.data import parquet

    with parquet.open_table(part) as file:
        return file.metadata.num_rows
