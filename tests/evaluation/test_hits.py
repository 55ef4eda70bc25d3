from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.evaluation.comparison import compare
from amc_platform.evaluation.hits import Accuracy, Hit, accuracy_table, read_hits, write_hits
from amc_platform.evaluation.protocol import Protocol

HIT = Hit(
    image_id="a",
    phrase_index=0,
    text="a red star",
    kind="attribute",
    category="",
    split="test",
    hard=True,
    boxes=(Box(1, 2, 3, 4.5), Box(0, 0, 9, 9)),
    point=(2, 3),
    hit=True,
    score=0.5,
)


def hits_of(kind: str, outcomes: str, *, hard: str = "", category: str = "") -> list[Hit]:
    """`outcomes` is a string of 1 and 0; `hard` says h for the hard ones."""
    hard = hard or "." * len(outcomes)
    return [
        replace(
            HIT, image_id=f"{kind}{index}", kind=kind, hit=one == "1", hard=level == "h", category=category
        )
        for index, (one, level) in enumerate(zip(outcomes, hard, strict=True))
    ]


def test_accuracy_by_group() -> None:
    hits = hits_of("attribute", "1101", hard="h..h") + hits_of("region", "00", hard=".h", category="people")
    table = accuracy_table(hits)
    assert {group: (accuracy.hits, accuracy.total) for group, accuracy in table.items()} == {
        "all": (3, 6),
        "attribute": (3, 4),
        "region": (0, 2),
        "people": (0, 2),
        "hard": (2, 3),
        "hard/attribute": (2, 2),
        "hard/region": (0, 1),
    }
    assert table["attribute"].percent == 75
    assert table["all"].low == pytest.approx(18.76, abs=0.01)
    assert table["all"].high == pytest.approx(81.24, abs=0.01)
    assert Accuracy.of(0, 0) == Accuracy(0, 0, 0.0, 0.0, 100.0)
    assert accuracy_table([]) == {}


def test_hits_are_read_as_written(tmp_path: Path) -> None:
    hits = [HIT, replace(HIT, phrase_index=1, hit=False, boxes=(), category="people")]
    protocol = Protocol.named("scenes")
    write_hits(tmp_path / "hits.parquet", hits, protocol)
    assert read_hits(tmp_path / "hits.parquet") == hits
    table = parquet.read_table(tmp_path / "hits.parquet")
    assert table["protocol_hash"].to_pylist() == [protocol.hash] * 2
    assert table.schema.metadata[b"amc.protocol"] == b"scenes"
    write_hits(tmp_path / "none.parquet", [], protocol)
    assert read_hits(tmp_path / "none.parquet") == []


def test_what_is_no_table_of_hits_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.parquet: no such file"):
        read_hits(tmp_path / "gone.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"text\.parquet: no table of hits"):
        read_hits(tmp_path / "text.parquet")


def test_two_rows_compared() -> None:
    first, second = hits_of("attribute", "11111"), hits_of("attribute", "00000")
    assert compare([first], [second])["attribute"].difference == 100
    assert compare([first], [second])["all"].p == pytest.approx(2 / 2**5)
    # One seed of the base beside two seeds of the other row: 5/5 and 3/5 against 1/5.
    base, seeds = (
        hits_of("attribute", "10000"),
        [hits_of("attribute", "11111"), hits_of("attribute", "11100")],
    )
    compared = compare(seeds, [base])["all"]
    assert (compared.first, compared.second) == (80, 20)
    assert compared.difference == pytest.approx(60)
    assert compared.p is None
    assert compared.low <= compared.difference <= compared.high


def test_rows_over_other_phrases_are_not_compared() -> None:
    with pytest.raises(InputError, match="in one row only"):
        compare([hits_of("attribute", "11")], [hits_of("region", "11")])
    with pytest.raises(InputError, match="3 phrases against 2"):
        compare([hits_of("attribute", "11")], [hits_of("attribute", "110")])
    with pytest.raises(InputError, match="2 seeds against 3"):
        compare([hits_of("region", "1")] * 2, [hits_of("region", "1")] * 3)
