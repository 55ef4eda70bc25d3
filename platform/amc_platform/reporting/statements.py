"""What a reader may rely on: a row's number in a main column, how sure it is, and what it is to be set beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amc_platform.evaluation.comparison import Comparison
from amc_platform.evaluation.scores import Score
from amc_platform.reporting.content import Contrast, PageData
from amc_platform.reporting.paper import PaperFigure
from amc_platform.reporting.table import ABSENT, columns, p_text, signed

LEVEL = 0.05
"""Of significance, for all tests of a column together."""
NOT_SIGNIFICANT = "n.s."
_MAIN = ("all", "hard")


@dataclass(frozen=True, slots=True)
class Statement:
    """A row's score in a column; the paper's figure and the difference to the reference row where there are such."""

    row: str
    column: str
    score: Score
    paper: PaperFigure | None
    against: Comparison | None
    """The reference row minus this one."""
    p: float | None
    """Of that difference, adjusted for the rows of the column (Holm)."""

    @property
    def minus_paper(self) -> float | None:
        """Measured minus printed, in points."""
        return None if self.paper is None else self.score.percent - self.paper.percent

    @property
    def significant(self) -> bool | None:
        """Whether the row differs from the reference; None of the reference itself."""
        return None if self.p is None else self.p < LEVEL


def main_columns(groups: Sequence[str]) -> list[str]:
    """Of a table's columns those that take phrases of all kinds together, of every split."""
    return [group for group in groups if group.rpartition("/")[2] in _MAIN]


def statements(data: PageData) -> list[Statement]:
    """By column, then by row."""
    contrasts = {contrast.row: contrast for contrast in data.contrasts}
    return [
        _statement(data, row.name, column, row.scores[column], contrasts.get(row.name))
        for column in main_columns(columns(data.rows))
        for row in data.rows
        if column in row.scores
    ]


def _statement(data: PageData, row: str, column: str, score: Score, contrast: Contrast | None) -> Statement:
    paper = data.paper.get(row, {}).get(column)
    if contrast is None:
        return Statement(row, column, score, paper, None, None)
    return Statement(row, column, score, paper, contrast.groups[column], contrast.adjusted[column])


def statement_texts(data: PageData) -> tuple[list[str], list[list[str]]]:
    """Heads and lines; the paper's and the reference's columns only where there is something to say in them."""
    made = statements(data)
    printed = any(statement.paper for statement in made)
    compared = any(statement.against for statement in made)
    heads = ["", "phrases", "mean", "± sd", "seeds", "n", "95 % interval"]
    heads += ["paper", "− paper"] if printed else []
    heads += [f"{data.reference} − row", "95 % interval", "p (Holm)", ""] if compared else []
    return heads, [
        [
            *_score_texts(statement),
            *(_paper_texts(statement) if printed else []),
            *(_comparison_texts(statement) if compared else []),
        ]
        for statement in made
    ]


def _score_texts(statement: Statement) -> list[str]:
    score = statement.score
    return [
        statement.row,
        statement.column.replace("/", " "),
        f"{score.percent:.1f}",
        ABSENT if score.spread is None else f"{score.spread:.1f}",
        str(len(score.percents)),
        str(score.phrases),
        f"{score.low:.1f} to {score.high:.1f}",
    ]


def _paper_texts(statement: Statement) -> list[str]:
    if statement.paper is None or statement.minus_paper is None:
        return [ABSENT, ABSENT]
    return [f"{statement.paper.percent:.2f}", signed(statement.minus_paper)]


def _comparison_texts(statement: Statement) -> list[str]:
    against = statement.against
    if against is None or statement.p is None:
        return [ABSENT, ABSENT, ABSENT, ""]
    return [signed(against.difference), interval_text(against), *verdict_texts(statement.p)]


def interval_text(comparison: Comparison) -> str:
    """The interval of a difference."""
    return f"{signed(comparison.low)} to {signed(comparison.high)}"


def verdict_texts(p: float) -> list[str]:
    """An adjusted p, and the mark of what is not significant."""
    return [p_text(p), "" if p < LEVEL else NOT_SIGNIFICANT]


def statement_notes(data: PageData) -> list[str]:
    """What the columns mean, in sentences."""
    several, single = (any(row.seeds > 1 for row in data.rows), any(row.seeds == 1 for row in data.rows))
    drawn = "images and seeds" if several else "images"
    notes = [
        f"n is the number of phrases each seed was scored on. Intervals are bootstrapped over {drawn}"
        + ("; a row with one seed says nothing of other trainings." if single else ".")
    ]
    if data.contrasts:
        notes.append(
            f"p: paired test over {drawn} that the row is as good as {data.reference}, adjusted for the rows of the "
            f"column (Holm); {NOT_SIGNIFICANT}: not significant at 5 %."
        )
    sources = dict.fromkeys(figure.source for of_row in data.paper.values() for figure in of_row.values())
    if sources:
        notes.append(f"Paper: {'; '.join(sources)}.")
    return notes


def statements_json(data: PageData) -> list[dict[str, Any]]:
    """The same for machines; what there is nothing to say of is null."""
    return [_statement_json(statement) for statement in statements(data)]


def _statement_json(statement: Statement) -> dict[str, Any]:
    score, paper, against = statement.score, statement.paper, statement.against
    return {
        "row": statement.row,
        "column": statement.column,
        "percent": score.percent,
        "spread": score.spread,
        "seeds": len(score.percents),
        "phrases": score.phrases,
        "low": score.low,
        "high": score.high,
        "paper": paper and paper.percent,
        "paper_source": paper and paper.source,
        "minus_paper": statement.minus_paper,
        "reference_minus_row": against and against.difference,
        "reference_minus_row_low": against and against.low,
        "reference_minus_row_high": against and against.high,
        "p_holm": statement.p,
        "significant": statement.significant,
    }
