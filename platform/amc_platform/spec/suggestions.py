"""The nearest valid names to a misspelt one."""

from collections.abc import Iterable


def edit_distance(a: str, b: str) -> int:
    """Characters to insert, delete, substitute or swap with their neighbour until `a` is `b`."""
    rows = [list(range(len(b) + 1))]
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            row.append(min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + (left != right)))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                row[j] = min(row[j], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """All of `names` at the smallest edit distance from `word`, none if that is more than a third of it.

    All, because `itx` is as near to `itc` as to `itm`: a single guess would be wrong half of the time.
    """
    distances = {name: edit_distance(word, name) for name in names}
    closest = min(distances.values(), default=0)
    if closest > max(1, len(word) // 3):
        return []
    return [name for name, distance in distances.items() if distance == closest]


def either(names: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def hint(word: str, names: Iterable[str]) -> str:
    """What to do about the invalid `word`: the nearest names, or all of them when none is near."""
    valid = list(names)
    close = nearest(word, valid)
    return f"did you mean {either(close)}?" if close else f"choose {either(valid)}"
