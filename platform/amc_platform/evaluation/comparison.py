"""Whether one row is better than another on the same phrases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amc_models.errors import InputError
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.statistics import bootstrap, mcnemar


@dataclass(frozen=True, slots=True)
class Comparison:
    """`first` and `second` are accuracies in per cent, `difference` = first - second in points.

    `low` and `high` bound the difference (95 %, bootstrap over phrases and seeds); `p` is McNemar's exact p,
    and None where either side has several seeds, for which that test is not made.
    """

    phrases: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float | None


def compare(
    first: Sequence[Sequence[Hit]], second: Sequence[Sequence[Hit]], *, draws: int = 2000
) -> dict[str, Comparison]:
    """Compare two rows by group: `all`, each kind and `hard`. Each row is a list over seeds of its hits.

    A row with one seed (a base that is not trained) is set beside every seed of the other; otherwise seeds
    are paired in order. Raises InputError where the phrases or the numbers of seeds do not match.
    """
    phrases = list(first[0])
    a, b = _matrix(first, phrases), _matrix(second, phrases)
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise InputError(f"compare: {len(a)} seeds against {len(b)}; give both rows the same seeds")
    differences = a.astype(np.float64) - b
    paired = len(a) == len(b) == 1
    result: dict[str, Comparison] = {}
    for group in ("all", *sorted({hit.kind for hit in phrases}), "hard"):
        mask = np.array([group in ("all", hit.kind) or (group == "hard" and hit.hard) for hit in phrases])
        if not mask.any():
            continue
        low, high = bootstrap(differences[:, mask], draws=draws)
        result[group] = Comparison(
            phrases=int(mask.sum()),
            first=100 * float(a[:, mask].mean()),
            second=100 * float(b[:, mask].mean()),
            difference=100 * float(differences[:, mask].mean()),
            low=100 * low,
            high=100 * high,
            p=mcnemar(a[0, mask], b[0, mask]) if paired else None,
        )
    return result


def _matrix(row: Sequence[Sequence[Hit]], phrases: Sequence[Hit]) -> np.ndarray:
    lines: list[list[bool]] = []
    for hits in row:
        found = {(hit.image_id, hit.phrase_index, hit.text): hit.hit for hit in hits}
        try:
            lines.append([found[hit.image_id, hit.phrase_index, hit.text] for hit in phrases])
        except KeyError as error:
            raise InputError(
                f"compare: phrase {error.args[0]} was scored in one row only; evaluate both on the same table"
            ) from None
        if len(found) != len(phrases):
            raise InputError(
                f"compare: {len(found)} phrases against {len(phrases)}; evaluate both on the same table"
            )
    return np.array(lines, dtype=bool)
