"""What people see while trials run: a table on a terminal, lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from amc_platform.cli.console import note

if TYPE_CHECKING:
    from rich.table import Table

    from amc_platform.search.overview import Line, Overview

Tell = Callable[[str], None]
Watch = Callable[["Overview"], None]
_SHOWN = 20


@contextmanager
def live(title: str) -> Iterator[tuple[Tell, Watch]]:
    """Two functions: one takes lines of progress, the other takes where everything stands."""
    if sys.stderr.isatty():
        with _table(title) as functions:
            yield functions
    else:
        yield note, _lines()


@contextmanager
def _table(title: str) -> Iterator[tuple[Tell, Watch]]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=2, transient=True) as shown:
        last = ""

        def tell(line: str) -> None:
            nonlocal last
            last = line

        def watch(overview: "Overview") -> None:
            shown.update(_rendered(title, overview, last))

        yield tell, watch


def _rendered(title: str, overview: "Overview", last: str) -> "Table":
    """The trials that run or scored best, the best so far and the time left below them."""
    from rich.table import Table

    table = Table(
        title=f"{title}: {overview.done} of {overview.total}", caption=f"{summary(overview)}\n{last}"
    )
    table.title_justify = table.caption_justify = "left"
    for column in ("trial", "state", "step", overview.metric, "pairs/s"):
        table.add_column(column, justify="left" if column in ("trial", "state") else "right")
    for line in shown_lines(overview):
        style = "bold" if line is overview.best else "dim" if line.state in ("waiting", "stopped") else ""
        cells = (
            line.label,
            line.state,
            f"{line.steps}/{line.of}",
            _number(line.value),
            _number(line.speed, 0),
        )
        table.add_row(*cells, style=style)
    return table


def shown_lines(overview: "Overview") -> "list[Line]":
    """At most twenty: those that run, the best, those that scored, the others; in the order of the plan."""
    ranks = {"running": 0, "done": 2, "failed": 2, "stopped": 3}
    lines = overview.lines
    order = sorted(lines, key=lambda line: 1 if line is overview.best else ranks.get(line.state, 4))
    chosen = {id(line) for line in order[:_SHOWN]}
    return [line for line in lines if id(line) in chosen]


def summary(overview: "Overview") -> str:
    """`3 of 9 trials ended; best val/…/pointing 45.2: amc (seed 0); about 4 min left`."""
    parts = [f"{overview.done} of {overview.total} trials ended"]
    if overview.best is not None:
        parts.append(f"best {overview.metric} {_number(overview.best.value)}: {overview.best.label}")
    if overview.left_s is not None and overview.done < overview.total:
        minutes = overview.left_s / 60
        parts.append(
            f"about {minutes:.0f} min left" if minutes >= 1.5 else f"about {overview.left_s:.0f} s left"
        )
    return "; ".join(parts)


def _lines() -> Watch:
    """A line whenever a trial ended."""
    last = 0

    def watch(overview: "Overview") -> None:
        nonlocal last
        if overview.done != last and overview.total > 1:
            last = overview.done
            note(summary(overview))

    return watch


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"
