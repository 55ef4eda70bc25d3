"""`amc bench data`, from the scenes to the share of a step that waits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def bench_data(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "amc"), "bench", "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.soak
def test_it_compares_times_and_trains() -> None:
    result = bench_data("--scenes", "--images", "70", "--steps", "3", "--phrases", "3", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["images"], report["compared"], report["phrases_per_image"]) == (70, 64, 3)
    assert report["shared_ratio"] > 1
    assert 0 <= report["data_wait_share"] < 1


def test_a_table_and_scenes_cannot_both_be_asked_for() -> None:
    result = bench_data("table.parquet", "--scenes")
    assert result.returncode == 2
    assert "--scenes: table.parquet is given too; choose one of them" in result.stderr
