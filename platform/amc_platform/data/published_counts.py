"""How many images and phrases the datasets hold by their papers and official files, to be set beside a table's own."""

from typing import Any, NamedTuple

from amc_platform.data.table import TableInfo

PUBLISHED: dict[str, dict[str, dict[str, int]]] = {
    # By source, or source/who split it: {split: {"images", "phrases" or a kind of them: how many}}.
    # AMC's section 4.1 counts the texts made from Visual Genome's boxes.
    "visual_genome": {"train": {"attribute": 924_807, "spatial": 168_442}},
    "flickr30k_entities": {
        "train": {"images": 29_783},
        "val": {"images": 1_000, "phrases": 14_433},
        "test": {"images": 1_000, "phrases": 14_481},
    },
    "refcoco_plus/unc": {
        "train": {"images": 16_992, "phrases": 120_191},
        "val": {"images": 1_500, "phrases": 10_758},
        "testA": {"images": 750, "phrases": 5_726},
        "testB": {"images": 750, "phrases": 4_889},
    },
    "refcoco/unc": {
        "train": {"images": 16_994, "phrases": 120_624},
        "val": {"images": 1_500, "phrases": 10_834},
        "testA": {"images": 750, "phrases": 5_657},
        "testB": {"images": 750, "phrases": 5_095},
    },
    "refcocog/umd": {
        "train": {"images": 21_899, "phrases": 80_512},
        "val": {"images": 1_300, "phrases": 4_896},
        "test": {"images": 2_600, "phrases": 9_602},
    },
    "referit/berkeley": {"val": {"images": 1_000, "phrases": 5_842}},
}


class Comparison(NamedTuple):
    """What a split of a table holds of something, beside what is published."""

    split: str
    what: str
    here: int
    published: int


def compare(info: TableInfo) -> list[Comparison]:
    """Every published count of the table's source and of the splits and kinds of phrases that it holds."""
    name = "/".join(info.source[key] for key in ("source", "split_by") if key in info.source)
    found: list[Comparison] = []
    for split, published in PUBLISHED.get(name, {}).items():
        at: dict[str, Any] | None = info.counts["splits"].get(split)
        here = {**at["kinds"], "images": at["images"], "phrases": at["phrases"]} if at else {}
        found += [Comparison(split, what, here[what], n) for what, n in published.items() if what in here]
    return found
