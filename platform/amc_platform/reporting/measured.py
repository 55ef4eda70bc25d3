"""From the hits of a plan's trials to the rows of its table and the comparisons between them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from amc_models.errors import InputError
from amc_platform.evaluation.comparison import Comparison, compare_outcomes
from amc_platform.evaluation.groups import groups_of_table
from amc_platform.evaluation.hits import read_hits
from amc_platform.evaluation.scored_phrases import ScoredPhrases
from amc_platform.evaluation.scores import Score, score_table
from amc_platform.evaluation.statistics import holm
from amc_platform.reporting.content import Contrast
from amc_platform.reporting.table import ResultRow, joined
from amc_platform.search.plan import Plan, Row
from amc_platform.spec.suggestions import hint


def name_of(row: Row, plan: Plan) -> str:
    """What a row is called; the only row of an experiment without a search like the experiment."""
    return row.name or plan.experiment.name


def check_reference(plan: Plan) -> None:
    """Raise InputError where `report.reference` names no row of the plan, or its only one."""
    wanted = plan.experiment.report.reference
    if wanted is None or plan.unproposed:
        return
    field, names = f"{plan.source}: report.reference", [name_of(row, plan) for row in plan.rows]
    if wanted not in names:
        raise InputError(f"{field}: no row is named '{wanted}'; {hint(wanted, names)}")
    if len(names) == 1:
        raise InputError(f"{field}: no effect while there is one row; remove it")


def reference_of(plan: Plan) -> int:
    """Place of the row that the others are compared with: that of `report.reference`, as long as it is done, else the
    last."""
    names = [name_of(row, plan) for row in plan.rows]
    wanted = plan.experiment.report.reference
    return names.index(wanted) if wanted in names else len(names) - 1


def measure(plan: Plan) -> tuple[tuple[ResultRow, ...], tuple[Contrast, ...]]:
    """The rows, and the reference row against each of the others, the last one first; every file is read once."""
    reference = reference_of(plan)
    scores: list[dict[str, dict[str, Score]]] = [{} for _ in plan.rows]
    differences: list[dict[str, dict[str, Comparison]]] = [{} for _ in plan.rows]
    for split in plan.experiment.evaluation.splits:
        phrases, outcomes = _outcomes(plan, split)
        for index, row in enumerate(outcomes):
            scores[index][split] = score_table(phrases, row)
            if index != reference:
                differences[index][split] = compare_outcomes(phrases, outcomes[reference], row)
    names = [name_of(row, plan) for row in plan.rows]
    rows = tuple(ResultRow(name, joined(of_row)) for name, of_row in zip(names, scores, strict=True))
    titles = [f"{names[reference]} − {name}" for name in names]
    contrasts = [
        (name, title, joined(of_row))
        for name, title, of_row in zip(names, titles, differences, strict=True)
        if of_row
    ]
    return rows, _adjusted(contrasts[::-1])


def _outcomes(plan: Plan, split: str) -> tuple[ScoredPhrases, list[Bool[np.ndarray, "seeds phrases"]]]:
    """The phrases of a split, and for each row which of them its seeds hit."""
    phrases: ScoredPhrases | None = None
    read: dict[str, Bool[np.ndarray, " phrases"]] = {}
    for job in plan.jobs:
        hits = read_hits(job.evaluation(split) / "hits.parquet")
        if phrases is None:
            phrases = ScoredPhrases(hits, groups_of_table)
        read[job.identity] = phrases.outcomes(hits)
    assert phrases is not None, "a plan has a job"
    return phrases, [np.stack([read[job.identity] for job in row.jobs]) for row in plan.rows]


def _adjusted(contrasts: Sequence[tuple[str, str, dict[str, Comparison]]]) -> tuple[Contrast, ...]:
    """Contrasts whose p are adjusted for the number of rows: the tests of one group are taken together."""
    groups = contrasts[0][2] if contrasts else {}
    ps = {group: holm([of_row[group].p for _, _, of_row in contrasts]) for group in groups}
    return tuple(
        Contrast(title, name, of_row, {group: of_group[index] for group, of_group in ps.items()})
        for index, (name, title, of_row) in enumerate(contrasts)
    )
