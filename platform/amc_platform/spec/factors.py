"""The rows of a search as values of fields: combinations, draws, and fields that count only under a condition."""

import itertools
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from amc_models.errors import InputError
from amc_platform.spec.search import Dimension, SearchSpec

Values = dict[str, Any]
"""Values by dotted path."""
_DIGITS = 4
"""Significant digits of a drawn number, so that what a table shows is what was trained."""


def combinations(search: SearchSpec) -> list[Values]:
    """Every combination of the grid, the last field fastest; or the draws of `random`."""
    if search.random is None:
        return [dict(zip(search.grid, row, strict=True)) for row in itertools.product(*search.grid.values())]
    # A stream a field: one more field, or one more row, changes no other number.
    streams = {path: random.Random(f"{search.random.seed} {path}") for path in search.random.space}
    return [
        {path: drawn(dimension, streams[path]) for path, dimension in search.random.space.items()}
        for _ in range(search.random.n)
    ]


def drawn(dimension: Dimension, stream: random.Random) -> Any:
    """One value of `dimension`."""
    values = dimension.values
    match dimension.shape:
        case "choice":
            return stream.choice(values)
        case "randint":
            return stream.randint(*values)
        case "uniform":
            return rounded(stream.uniform(*values), dimension)
        case _:
            return rounded(math.exp(stream.uniform(*map(math.log, values))), dimension)


def rounded(value: Any, dimension: Dimension) -> Any:
    """A number with four significant digits, still within its bounds; anything else as it is."""
    if dimension.shape not in ("uniform", "loguniform"):
        return value
    low, high = dimension.values
    return min(max(float(f"{value:.{_DIGITS}g}"), low), high)


def corners(search: SearchSpec) -> list[Values]:
    """The row of all first values and that of all last ones: where they are valid, rows between them are."""
    return [{path: dimension.values[end] for path, dimension in search.varied.items()} for end in (0, -1)]


def active(values: Values, conditions: Mapping[str, Mapping[str, Any]], fixed: Mapping[str, Any]) -> Values:
    """`values` without the fields whose condition does not hold.

    A condition is on another varied field, where that is active itself, or on a field of the experiment (`fixed`).
    Raises InputError for conditions that wait for each other.
    """
    decided: Values = {}
    waiting = dict(values)
    while waiting:
        ready = [path for path in waiting if not (conditions.get(path, {}).keys() & waiting.keys())]
        if not ready:
            raise InputError(f"search.when: {' and '.join(waiting)} wait for each other; drop a condition")
        for path in ready:
            value, now = waiting.pop(path), {**fixed, **decided}
            if all(now.get(other) in _listed(wanted) for other, wanted in conditions.get(path, {}).items()):
                decided[path] = value
    return {path: decided[path] for path in values if path in decided}


def distinct(rows: Iterable[Values]) -> list[Values]:
    """Every row once, where it stands first."""
    return list({json.dumps(row, sort_keys=True, default=str): row for row in rows}.values())


def row_name(values: Values, varied: Iterable[str]) -> str:
    """`delta_1=0.1, delta_2=0.5`: each field by the shortest end of its path that no other varied field has."""
    paths = [path.split(".") for path in varied]

    def short(path: Sequence[str]) -> str:
        lengths = range(1, len(path) + 1)
        return ".".join(next(path[-n:] for n in lengths if sum(p[-n:] == path[-n:] for p in paths) < 2))

    return (
        ", ".join(f"{short(path.split('.'))}={_shown(value)}" for path, value in values.items()) or "default"
    )


def _listed(wanted: Any) -> list[Any]:
    return cast(list[Any], wanted) if isinstance(wanted, list) else [wanted]


def _shown(value: Any) -> str:
    return (
        f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )
