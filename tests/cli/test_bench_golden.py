"""`amc bench golden` on the recorded cases, and on ones that were tampered with."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def bench_golden(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "amc"), "bench", "golden", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def golden(shared_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_dir / "golden", tmp_path / "golden"))


def test_every_recorded_number_is_met(golden: Path) -> None:
    result = bench_golden(str(golden), "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, [t for t in report["tensors"] if not t["ok"]]
    assert report["missed"] == 0
    families = {tensor["case"].split("/")[0] for tensor in report["tensors"]}
    assert {"tiny_a", "eval_cases", "pre_caption", "box_clamp", "lr", "positions", "augment"} <= families


def test_one_wrong_number_is_found_and_fails(golden: Path) -> None:
    for networks in golden.glob("tiny_*"):
        networks.unlink()
    path = golden / "eval_cases.json"
    facts = json.loads(path.read_text())
    facts["cases"][3]["point_xy"][0] += 1
    facts["pre_caption"][0]["out"] = "a man to the left"
    facts["lr"]["epoch_start_lr"]["7"] *= 1.0001
    path.write_text(json.dumps(facts))
    result = bench_golden(str(golden))
    assert result.returncode == 1
    missed = [line.split("  ")[0] for line in result.stdout.splitlines() if "MISS" in line]
    assert missed == ["eval_cases/3 point_xy", "pre_caption 0", "lr epoch 7"]
    assert "3 missed" in result.stdout


def test_a_folder_without_cases_is_wrong_input(tmp_path: Path) -> None:
    result = bench_golden(str(tmp_path))
    assert result.returncode == 2
    assert "no golden case" in result.stderr
    assert len(result.stderr.splitlines()) == 1
