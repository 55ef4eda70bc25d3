"""How every verb speaks: rich on a terminal, plain lines elsewhere, JSON for machines.

Results go to standard output; progress and errors go to standard error, so that `--json` can be piped.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Report = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def say(text: str) -> None:
    """Print one line of a result."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print one line about what is going on."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print `value` as JSON, as it is on a terminal or off it."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table: the first column to the left, the others, mostly numbers, to the right."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title or None, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console(markup=False).print(table)
        return
    if title:
        say(title)
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    for row in (columns, *rows):
        first, *others = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]).rstrip())


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show how far something is: a bar on a terminal, a line every tenth of the way elsewhere."""
    if sys.stderr.isatty():
        with _bar(what) as report:
            yield report
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def _lines(what: str) -> Report:
    last = 0

    def report(done: int, total: int) -> None:
        nonlocal last
        tenth = 10 * done // max(total, 1)
        if tenth > last:
            last = tenth
            note(f"{what}: {done} of {total}")

    return report
