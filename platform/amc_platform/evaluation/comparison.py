"""Whether one row is better than another on the same phrases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from amc_models.errors import InputError
from amc_platform.evaluation.groups import GroupsOf, basic_groups, by_image, images_of, membership
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.statistics import bootstrap, mcnemar


@dataclass(frozen=True, slots=True)
class Comparison:
    """`first` and `second` are accuracies in per cent, `difference` = first - second in points.

    `low` and `high` bound the difference (95 %, bootstrap over images and seeds); `p` is McNemar's exact p,
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
    first: Sequence[Sequence[Hit]],
    second: Sequence[Sequence[Hit]],
    groups_of: GroupsOf = basic_groups,
    *,
    draws: int = 2000,
) -> dict[str, Comparison]:
    """Compare two rows by group, `all` first and the others by name. Each row is a list over seeds of its hits.

    A row with one seed (a base that is not trained) is set beside every seed of the other; otherwise seeds
    are paired in order. Raises InputError where the phrases or the numbers of seeds do not match.
    """
    phrases = list(first[0])
    a, b = _matrix(first, phrases), _matrix(second, phrases)
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise InputError(f"compare: {len(a)} seeds against {len(b)}; give both rows the same seeds")
    if not phrases:
        return {}
    names, member = membership(phrases, groups_of)
    images = images_of(phrases)
    differences = a.astype(np.float64) - b
    sums = np.stack([by_image(of_seed[:, None] * member, images) for of_seed in differences])
    intervals = bootstrap(sums, by_image(member, images), draws=draws)
    paired = len(a) == len(b) == 1
    result = {
        name: Comparison(
            phrases=int(mask.sum()),
            first=100 * float(a[:, mask].mean()),
            second=100 * float(b[:, mask].mean()),
            difference=100 * float(differences[:, mask].mean()),
            low=100 * float(low),
            high=100 * float(high),
            p=mcnemar(a[0, mask], b[0, mask]) if paired else None,
        )
        for name, mask, (low, high) in zip(names, member.T, intervals, strict=True)
    }
    return {"all": result["all"], **result}


def _matrix(row: Sequence[Sequence[Hit]], phrases: Sequence[Hit]) -> Bool[np.ndarray, "seeds phrases"]:
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
    return np.array(lines, dtype=bool).reshape(len(row), len(phrases))
