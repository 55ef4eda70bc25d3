"""Rows of a result, seeds put together, as text, Markdown and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from amc_platform.evaluation.scores import Score

KINDS = ("attribute", "spatial", "category", "region")
"""Order of the known kinds; other groups follow by name."""
ABSENT = "–"

_Of = TypeVar("_Of")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A named row and its score by group."""

    name: str
    scores: Mapping[str, Score]

    @property
    def seeds(self) -> int:
        """How many seeds it has."""
        return max((len(score.percents) for score in self.scores.values()), default=0)


def joined(splits: Mapping[str, Mapping[str, _Of]]) -> dict[str, _Of]:
    """Groups of several splits as one: the first keeps its names, of others they are `<split>/<group>`; {} of none."""
    return {
        group if index == 0 else f"{split}/{group}": of_group
        for index, (split, groups) in enumerate(splits.items())
        for group, of_group in groups.items()
    }


def columns(rows: Sequence[ResultRow]) -> list[str]:
    """The groups that make the table's columns, in order: what the rows have decides.

    `hard/<kind>` is left to the JSON. A further split (`unseen/…`) has all, attribute and hard only, and of
    those that count the same phrases the first.
    """
    totals = {group: score.phrases for row in rows for group, score in row.scores.items()}
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


def cell_text(row: ResultRow, group: str) -> str:
    """Mean and standard deviation over seeds, or of one seed the 95 % interval; a dash where it lacks the group."""
    score = row.scores.get(group)
    if score is None:
        return ABSENT
    return f"{score.percent:.1f} {beside_text(score)}"


def beside_text(score: Score) -> str:
    """What a cell says beside the number."""
    return f"({score.low:.0f}–{score.high:.0f})" if score.spread is None else f"± {score.spread:.1f}"


def phrases(rows: Sequence[ResultRow], group: str) -> int:
    """How many phrases a group counts."""
    return next((row.scores[group].phrases for row in rows if group in row.scores), 0)


def p_text(p: float) -> str:
    """A probability; one below the smallest float is not said to be zero."""
    return f"{p:.2g}" if p > 0 else "< 1e-300"


def signed(value: float) -> str:
    """A difference with its sign, the typographic minus included."""
    return f"{value:+.1f}".replace("-", "−")


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
    lines = [[row.name, *(cell_text(row, group) for group in groups), str(row.seeds)] for row in rows]
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
    return [
        {
            "name": row.name,
            "pointing": {group: _score_json(row.scores[group]) for group in sorted(row.scores)},
        }
        for row in rows
    ]


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "percent": score.percent,
        "spread": score.spread,
        "low": score.low,
        "high": score.high,
        "seeds": len(score.percents),
        "phrases": score.phrases,
        "percent_by_seed": list(score.percents),
    }
