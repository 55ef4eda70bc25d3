"""Clean splits: a test table without the images that a model has been trained on (the paper's Table 4)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amc_models.errors import InputError
from amc_platform.data import parquet
from amc_platform.data.places import Address, Place
from amc_platform.data.rows import ImageRow
from amc_platform.data.sources.visual_genome import origins, scan
from amc_platform.data.stream import stream_rows
from amc_platform.data.table import MANIFEST, TableInfo, parts, read_info, write_table

PUBLISHED = {"refcoco_plus": {("val",): 926, ("testA", "testB"): 931}}
"""Images that stay of RefCOCO+ without those of Visual Genome (Table 4); of which splits they are is our reading."""


@dataclass(frozen=True)
class Cleaned:
    """A clean table. images, kept: images by split, before and after."""

    info: TableInfo
    images: Counter[str]
    kept: Counter[str]


def clean_table(table: Address, dataset: str, against: Address, out: Address) -> Cleaned:
    """Write the rows of `table`, which is made from `dataset`, without the images of `against`.

    `against` is another table, Visual Genome's image_data.json or a folder with it. An image is the same where it
    has the same id in a collection that both take it from (COCO, Flickr). Raises InputError where `table` is of
    another source, or an image of it cannot be compared.
    """
    info = read_info(table)
    if info.source.get("source") != dataset:
        raise InputError(f"--clean: {table} is made from {info.source.get('source')}, not from {dataset}")
    if Place.of(table).address == Place.of(out).address:
        raise InputError(f"--out: {out} is the table to be cleaned; give another")
    trained_on = known_origins(against)
    collections = {origin.partition(":")[0] for origin in trained_on}
    images, kept = Counter[str](), Counter[str]()

    def clean() -> Iterator[ImageRow]:
        for row in stream_rows(table):
            if collections.isdisjoint(origin.partition(":")[0] for origin in row.origins):
                names = " or ".join(sorted(collections)) or "any collection"
                raise InputError(
                    f"{table}: image {row.image_id} has no id in {names}, from which {against} takes its images; "
                    "compare tables of the same photos"
                )
            splits = {phrase.split for phrase in row.phrases}
            images.update(splits)
            if trained_on.isdisjoint(row.origins):
                kept.update(splits)
                yield row

    # What its source counted was counted with the images that are left out.
    source: dict[str, Any] = {k: v for k, v in info.source.items() if k not in ("counts", "rejected")}
    return Cleaned(
        write_table(out, clean(), source={**source, "without": str(against)}, baselines=None), images, kept
    )


def known_origins(address: Address) -> frozenset[str]:
    """Ids in other collections, such as "coco:716", of all images of a table or of Visual Genome's image_data.json."""
    place = Place.of(address)
    listed = place.join("image_data.json") if place.is_dir() else place
    if listed.path.endswith(".json") and listed.exists():
        return frozenset(origin for _, _, entry in scan(listed) for origin in origins(entry))
    if not place.exists() or (place.is_dir() and not place.join(MANIFEST).exists()):
        raise InputError(f"{address}: neither a table nor Visual Genome's image_data.json or its folder")
    found: set[str] = set()
    for part in parts(address):
        with parquet.open_table(part) as file:
            for values in file.read(columns=["origins"]).columns:
                found.update(values.combine_chunks().flatten().unique().to_pylist())
    return frozenset(found)
