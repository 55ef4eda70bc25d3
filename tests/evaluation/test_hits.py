from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hit_rows import HIT
from pyarrow import parquet

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.evaluation.hits import protocol_of_hits, read_hits, write_hits
from amc_platform.evaluation.protocol import Protocol

SCENES = Protocol.named("scenes")


def test_hits_are_read_as_written(tmp_path: Path) -> None:
    hits = [
        HIT,
        replace(HIT, phrase_index=1, hit=False, boxes=(), category="people/clothing", point=None),
        replace(HIT, phrase_index=2, point=(10.5, 2.25), chosen=Box(1, 2, 20, 2.5), recall=True),
        replace(HIT, phrase_index=3, recall=False),
    ]
    path = tmp_path / "hits.parquet"
    write_hits(path, hits, SCENES)
    assert read_hits(path) == hits
    assert [hit.categories for hit in read_hits(path)[:2]] == [(), ("people", "clothing")]
    table = parquet.read_table(path)
    assert table["protocol_hash"].to_pylist() == [SCENES.hash] * 4
    assert protocol_of_hits(path) == ("scenes", SCENES.hash)
    write_hits(tmp_path / "none.parquet", [], SCENES)
    assert read_hits(tmp_path / "none.parquet") == []
    assert protocol_of_hits(tmp_path / "none.parquet") == ("scenes", SCENES.hash)


def test_what_is_no_table_of_hits_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.parquet: no such file"):
        read_hits(tmp_path / "gone.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"text\.parquet: no table of hits"):
        read_hits(tmp_path / "text.parquet")
    parquet.write_table(pa.table({"image_id": ["a"], "hit": [True]}), tmp_path / "old.parquet")
    with pytest.raises(InputError, match=r"old\.parquet: .* lacks phrase_index, .*evaluate again"):
        read_hits(tmp_path / "old.parquet")
