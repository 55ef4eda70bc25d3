"""The part of `amc doctor` that is about grounding tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from amc_models.errors import InputError
from amc_platform.cli.console import print_json, print_table, say

if TYPE_CHECKING:
    from amc_platform.data.doctor import Report


def is_table(address: str) -> bool:
    """Whether `address` names a grounding table: a Parquet file, or a folder of such files."""
    if address.partition("?")[0].endswith(".parquet"):
        return True
    if address.endswith((".yaml", ".yml")):
        return False
    from amc_platform.data.places import Place

    place = Place.of(address)
    return place.is_dir() and any(name.endswith((".parquet", "_table.json")) for name in place.names())


def refuse_idle(
    table: bool, image_size: int | None, against: str | None, clean: str | None, out: str | None
) -> None:
    """Raise InputError for an option that has no effect."""
    if table and image_size is not None:
        raise InputError("--image-size: is about checkpoints; leave it out for a table")
    for name, value in (("--against", against), ("--clean", clean), ("--out", out)):
        if value is not None and not table:
            raise InputError(
                f"{name}: is about tables, a .parquet file or a folder of them; leave it out here"
            )
    if clean is None and out is not None:
        raise InputError("--out: has an effect with --clean only; leave it out")


def examine_table(address: str, against: str | None, as_json: bool) -> bool:
    """Print every check of the table, and whether it is fine."""
    from dataclasses import asdict

    from amc_platform.data.doctor import examine

    report = examine(address, against)
    if as_json:
        facts = {"path": address, "kind": "table", "fine": report.fine, **asdict(report.info)}
        published = [comparison._asdict() for comparison in report.published]
        print_json(
            {**facts, "published": published, "findings": [asdict(found) for found in report.findings]}
        )
        return report.fine
    _print_counts(address, report)
    for line in _lines(report):
        say(line)
    return report.fine


def _print_counts(address: str, report: "Report") -> None:
    info = report.info
    published = {(split, what): n for split, what, _, n in report.published}
    source = info.source.get("source", "?")
    say(f"{address}: {info.counts['images']:,} images of {source}, content {info.content_hash}")
    rows: list[list[str]] = []
    for split, at in info.counts["splits"].items():
        for what, here in {"images": at["images"], "phrases": at["phrases"], **at["kinds"]}.items():
            there = published.get((split, what))
            rows.append([f"{split} {what}", f"{here:,}", f"{there:,}" if there else ""])
    print_table(["counted", "here", "published"], rows)


def _lines(report: "Report") -> Iterator[str]:
    for finding in report.findings:
        if finding.count:
            more = "; ..." if finding.count > len(finding.examples) else ""
            kind = "wrong" if finding.fault else "note"
            yield f"{kind}: {finding.count:,} {finding.check}: {'; '.join(finding.examples)}{more}"
            yield f"  {finding.remedy}"
    if report.fine:
        yield f"fine: nothing wrong by {len(report.findings)} checks"


def clean_table(address: str, dataset: str, against: str | None, out: str | None, as_json: bool) -> None:
    """Write the table without the images of `against`, and print what is kept beside what the paper keeps."""
    from amc_platform.data import clean

    if against is None or out is None:
        raise InputError("--clean: needs --against, what was trained on, and --out, the table to write")
    cleaned = clean.clean_table(address, dataset, against, out)
    published = clean.PUBLISHED.get(dataset, {})
    together = {(split,): None for split in cleaned.images} | published
    rows = [
        (" + ".join(splits), sum(cleaned.images[s] for s in splits), sum(cleaned.kept[s] for s in splits), n)
        for splits, n in together.items()
        if any(split in cleaned.images for split in splits)
    ]
    if as_json:
        names = ("split", "images", "kept", "published")
        facts = {"table": out, "content_hash": cleaned.info.content_hash}
        print_json({**facts, "splits": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        say(f"{out}: {cleaned.info.counts['images']:,} images, content {cleaned.info.content_hash}")
        cells = [[split, *("" if n is None else f"{n:,}" for n in counts)] for split, *counts in rows]
        print_table(["split", "images", "kept", "published"], cells)
