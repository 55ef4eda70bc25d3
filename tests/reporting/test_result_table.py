import io

import pytest
from rich.console import Console
from rich.table import Table

from amc_platform.evaluation.accuracy import Accuracy
from amc_platform.reporting.table import (
    ResultRow,
    baseline_rows,
    cell,
    columns,
    joined,
    markdown_table,
    table_json,
    table_texts,
)


def share(hits: int, total: int) -> Accuracy:
    """An interval of 5 points either way."""
    percent = 100 * hits / total
    return Accuracy(hits, total, percent, percent - 5, percent + 5)


def groups(**hits: int) -> dict[str, Accuracy]:
    """Groups of ten phrases each."""
    return {name.replace("__", "/"): share(number, 10) for name, number in hits.items()}


ROWS = [
    ResultRow("base", (groups(all=3, attribute=2, hard=1, hard__attribute=0),)),
    ResultRow("amc", (groups(all=8, attribute=9, hard=7), groups(all=9, attribute=9, hard=9))),
]


def test_several_seeds_have_a_spread_and_one_an_interval() -> None:
    several = cell(ROWS[1], "hard")
    assert several is not None
    # 70 and 90: mean 80, standard deviation sqrt(200 / 1).
    assert (several.percent, several.spread) == (80, pytest.approx(200**0.5))
    assert str(several) == "80.0 ± 14.1"
    assert (several.low, several.high, several.seeds, several.phrases) == (None, None, 2, 10)
    single = cell(ROWS[0], "all")
    assert str(single) == "30.0 (25–35)"
    assert cell(ROWS[0], "region") is None


def test_columns_are_those_that_exist_in_the_order_of_the_paper() -> None:
    row = ResultRow("x", (groups(hard=1, region=1, zebra=1, animals=1, spatial=1, all=1, attribute=1),))
    assert columns([row]) == ["all", "attribute", "spatial", "region", "animals", "zebra", "hard"]
    assert columns(ROWS) == ["all", "attribute", "hard"]


def test_a_further_split_has_its_own_columns() -> None:
    unseen = {
        "all": share(1, 9),
        "attribute": share(1, 9),
        "hard": share(1, 4),
        "region": share(0, 2),
        "hard/attribute": share(1, 3),
    }
    both = joined({"test": groups(all=3, hard=1, hard__attribute=1), "unseen": unseen})
    assert both["unseen/all"] == share(1, 9)
    assert both["all"] == share(3, 10)
    # `unseen/attribute` counts the same nine phrases as `unseen/all`.
    assert columns([ResultRow("x", (both,))]) == ["all", "hard", "unseen/all", "unseen/hard"]


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
    assert base["pointing"]["all"]["low"] == 25
