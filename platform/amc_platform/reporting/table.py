"""Rows of a result, seeds put together, as text, Markdown and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from amc_platform.evaluation.accuracy import Accuracy

KINDS = ("attribute", "spatial", "category", "region")
"""Order of the known kinds; other groups follow by name."""
ABSENT = "–"

Groups = Mapping[str, Accuracy]
"""Accuracy by group of one seed."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A named row and, for each of its seeds, the accuracy by group."""

    name: str
    seeds: tuple[Groups, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table, in per cent, over `seeds` seeds of `phrases` phrases each.

    `spread` is the standard deviation over seeds (n - 1); a single seed has none, and `low` to `high`, the
    95 % interval over its images, instead.
    """

    percent: float
    spread: float | None
    low: float | None
    high: float | None
    seeds: int
    phrases: int

    def __str__(self) -> str:
        if self.spread is not None:
            return f"{self.percent:.1f} ± {self.spread:.1f}"
        return f"{self.percent:.1f} ({self.low:.0f}–{self.high:.0f})"


def joined(splits: Mapping[str, Groups]) -> dict[str, Accuracy]:
    """Groups of several splits as one: the first keeps its names, of others they are `<split>/<group>`."""
    first, *others = splits
    return {
        **splits[first],
        **{f"{split}/{group}": a for split in others for group, a in splits[split].items()},
    }


def columns(rows: Sequence[ResultRow]) -> list[str]:
    """The groups that make the table's columns, in order: what the rows have decides.

    `hard/<kind>` is left to the JSON. A further split (`unseen/…`) has all, attribute and hard only, and of
    those that count the same phrases the first.
    """
    totals = {group: accuracy.total for row in rows for seed in row.seeds for group, accuracy in seed.items()}
    own = [group for group in totals if "/" not in group and group not in ("all", "hard", *KINDS)]
    order = ["all", *KINDS, *sorted(own), "hard"]
    chosen = [group for group in order if group in totals]
    others = {group.split("/")[0]: None for group in totals if "/" in group and not group.startswith("hard/")}
    for split in others:
        seen: set[int] = set()
        for group in (f"{split}/{name}" for name in ("all", "attribute", "hard")):
            if group in totals and totals[group] not in seen:
                chosen.append(group)
                seen.add(totals[group])
    return chosen


def cell(row: ResultRow, group: str) -> Cell | None:
    """The row's number of a group over its seeds; None where no seed has that group."""
    found = [seed[group] for seed in row.seeds if group in seed]
    if not found:
        return None
    percents = [accuracy.percent for accuracy in found]
    if len(found) == 1:
        return Cell(percents[0], None, found[0].low, found[0].high, 1, found[0].total)
    return Cell(fmean(percents), stdev(percents), None, None, len(found), found[0].total)


def phrases(rows: Sequence[ResultRow], group: str) -> int:
    """How many phrases a group counts."""
    return next((seed[group].total for row in rows for seed in row.seeds if group in seed), 0)


def baseline_rows(
    baselines: Mapping[str, Mapping[str, Mapping[str, Any]]], splits: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Baselines {split: {group: {name: per cent}}} as rows {name: {group of the table: per cent}}."""
    rows: dict[str, dict[str, float]] = {}
    for index, split in enumerate(splits):
        for group, scores in baselines.get(split, {}).items():
            for name, percent in scores.items():
                if name != "n" and percent is not None:
                    rows.setdefault(name.replace("_", " "), {})[
                        group if index == 0 else f"{split}/{group}"
                    ] = percent
    return rows


def table_texts(
    rows: Sequence[ResultRow], baselines: Mapping[str, Mapping[str, float]] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Heads and lines as text: the rows, then the baselines, then how many phrases each column counts."""
    groups = columns(rows)
    heads = ["", *(group.replace("/", " ") for group in groups), "seeds"]
    lines = [
        [row.name, *(str(cell(row, group) or ABSENT) for group in groups), str(len(row.seeds))]
        for row in rows
    ]
    for name, scores in (baselines or {}).items():
        if any(group in scores for group in groups):
            cells = (f"{scores[group]:.1f}" if group in scores else ABSENT for group in groups)
            lines.append([f"baseline: {name}", *cells, ""])
    lines.append(["phrases", *(str(phrases(rows, group)) for group in groups), ""])
    return heads, lines


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Heads and lines as a Markdown table, numbers to the right."""
    rule = ["---", *(["---:"] * (len(heads) - 1))]
    escaped = [[text.replace("|", "\\|") for text in line] for line in (heads, rule, *lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def table_json(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """Every group of every row, and what each seed scored, for machines."""
    result: list[dict[str, Any]] = []
    for row in rows:
        groups = sorted({group for seed in row.seeds for group in seed})
        cells = {group: cell(row, group) for group in groups}
        result.append(
            {
                "name": row.name,
                "pointing": {
                    group: asdict(of_group)
                    | {"percent_by_seed": [seed[group].percent for seed in row.seeds if group in seed]}
                    for group, of_group in cells.items()
                    if of_group is not None
                },
            }
        )
    return result
