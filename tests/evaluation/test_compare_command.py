"""`amc compare` on files of hits and on folders of trials."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hit_rows import hits_of

from amc_models.errors import InputError
from amc_platform.cli.compare import compare
from amc_platform.evaluation.hits import write_hits
from amc_platform.evaluation.protocol import Protocol


def trial(folder: Path, *splits: str, outcomes: str) -> Path:
    """A trial's folder with the hits of evaluations on `splits`."""
    for split in splits:
        hits = [replace(hit, split=split) for hit in hits_of("attribute", outcomes)]
        write_hits(folder / "evaluations" / f"{split}-0123" / "hits.parquet", hits, Protocol.named("scenes"))
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    compare(*arguments, as_json=True)
    return json.loads(capsys.readouterr().out)["groups"]


def test_trials_are_compared_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trial(tmp_path / "one", "test", outcomes="1110")
    other = trial(tmp_path / "other", "test", "unseen", outcomes="0010")
    groups = said(capsys, one, other, "test")
    assert (groups["all"]["difference"], groups["all"]["mcnemar"]) == (50, 0.5)
    assert {"split test", "3-5 words", "no spatial words", "small box"} < groups.keys()
    # A file, and the only evaluation of a folder.
    assert said(capsys, one / "evaluations/test-0123/hits.parquet", one)["all"]["difference"] == 0
    with pytest.raises(InputError, match="several evaluations are there; choose a split by --split"):
        compare(one, other)
    with pytest.raises(InputError, match=r"no evaluation on unseen is there; .* evaluations/test-0123/hits"):
        compare(one, other, "unseen")
    with pytest.raises(InputError, match="no evaluation is there"):
        compare(tmp_path, one)
    with pytest.raises(InputError, match="--split: no effect"):
        compare(one / "evaluations/test-0123/hits.parquet", one, "test")
