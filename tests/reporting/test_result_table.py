import io

import pytest
from rich.console import Console
from rich.table import Table

from amc_platform.evaluation.scores import Score
from amc_platform.reporting.table import (
    ResultRow,
    baseline_rows,
    cell_text,
    columns,
    joined,
    markdown_table,
    table_json,
    table_texts,
)


def score(*hits: int, total: int = 10) -> Score:
    """Hits of each seed; an interval of 5 points either way."""
    percents = tuple(100 * number / total for number in hits)
    middle = sum(percents) / len(percents)
    return Score(percents, total, middle - 5, middle + 5)


def row(name: str, **hits: tuple[int, ...]) -> ResultRow:
    """Groups of ten phrases each."""
    return ResultRow(name, {group.replace("__", "/"): score(*of_seeds) for group, of_seeds in hits.items()})


ROWS = [
    row("base", all=(3,), attribute=(2,), hard=(1,), hard__attribute=(0,)),
    row("amc", all=(8, 9), attribute=(9, 9), hard=(7, 9)),
]


def test_several_seeds_have_a_spread_and_one_an_interval() -> None:
    several = ROWS[1].scores["hard"]
    # 70 and 90: mean 80, standard deviation sqrt(200 / 1).
    assert (several.percent, several.spread) == (80, pytest.approx(200**0.5))
    assert cell_text(ROWS[1], "hard") == "80.0 ± 14.1"
    assert cell_text(ROWS[0], "all") == "30.0 (25–35)"
    assert cell_text(ROWS[0], "region") == "–"
    assert (ROWS[0].seeds, ROWS[1].seeds) == (1, 2)


def test_columns_are_those_that_exist_in_the_order_of_the_paper() -> None:
    names = ("hard", "region", "zebra", "animals", "spatial", "all", "attribute")
    assert columns([row("x", **dict.fromkeys(names, (1,)))]) == [
        "all",
        "attribute",
        "spatial",
        "region",
        "animals",
        "zebra",
        "hard",
    ]
    assert columns(ROWS) == ["all", "attribute", "hard"]


def test_a_further_split_has_its_own_columns() -> None:
    unseen = {
        "all": score(1, total=9),
        "attribute": score(1, total=9),
        "hard": score(1, total=4),
        "region": score(0, total=2),
        "hard/attribute": score(1, total=3),
    }
    test = row("x", all=(3,), hard=(1,), hard__attribute=(1,)).scores
    both = joined({"test": test, "unseen": unseen})
    assert both["unseen/all"] == unseen["all"]
    assert both["all"] == score(3)
    # `unseen/attribute` counts the same nine phrases as `unseen/all`.
    assert columns([ResultRow("x", both)]) == ["all", "hard", "unseen/all", "unseen/hard"]
    assert joined({}) == {}


def test_the_table_as_text() -> None:
    baselines = baseline_rows(
        {"test": {"hard": {"n": 10, "random_object": 20.0, "right_colour_only": None}}, "val": {}}, ["test"]
    )
    heads, lines = table_texts(ROWS, baselines)
    assert heads == ["", "all", "attribute", "hard", "seeds"]
    assert lines == [
        ["base", "30.0 (25–35)", "20.0 (15–25)", "10.0 (5–15)", "1"],
        ["amc", "85.0 ± 7.1", "90.0 ± 0.0", "80.0 ± 14.1", "2"],
        ["baseline: random object", "–", "–", "20.0", ""],
        ["phrases", "10", "10", "10", ""],
    ]
    assert markdown_table(["", "a|b"], [["x", "1"]]) == "|  | a\\|b |\n| --- | ---: |\n| x | 1 |"


def test_baselines_of_a_further_split_stand_in_its_columns() -> None:
    stored = {"test": {"hard": {"n": 1, "box_area": 5.0}}, "unseen": {"hard": {"n": 1, "box_area": 6.0}}}
    assert baseline_rows(stored, ["test", "unseen"]) == {"box area": {"hard": 5.0, "unseen/hard": 6.0}}


def test_lines_fit_a_rich_table() -> None:
    heads, lines = table_texts(ROWS)
    table = Table(*heads)
    for line in lines:
        table.add_row(*line)
    stream = io.StringIO()
    Console(file=stream, width=100).print(table)
    assert "85.0 ± 7.1" in stream.getvalue()


def test_json_holds_every_group_and_every_seed() -> None:
    base, amc = table_json(ROWS)
    assert base["name"] == "base"
    assert base["pointing"]["hard/attribute"]["percent"] == 0
    assert amc["pointing"]["all"]["percent_by_seed"] == [80, 90]
    assert amc["pointing"]["all"]["spread"] == pytest.approx(50**0.5)
    assert (base["pointing"]["all"]["low"], amc["pointing"]["all"]["low"]) == (25, 80)
    assert (base["pointing"]["all"]["spread"], amc["pointing"]["all"]["seeds"]) == (None, 2)
