"""`amc bench scale` with torchrun and Ray Train for real; figures of one step say nothing, so none is compared."""

import json
import subprocess
from pathlib import Path

import pytest
from following import AMC

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def test_every_group_takes_its_turns(tmp_path: Path) -> None:
    sizes = ["--images", "2", "--phrases", "1", "--rounds", "1", "--steps", "1", "--profiled", "small"]
    done = subprocess.run(
        [AMC, "bench", "scale", "--json", *sizes], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    result = json.loads(done.stdout)
    # Bytes equal, or the exit code would be 1 whatever the times.
    assert result["equal"]
    slow = min(result["ray_over_bare"]["fastest"], result["ray_over_bare"]["cpu"]) > 1.02
    assert done.returncode == int(slow)
    assert result["seconds"].keys() == {"one", "apart", "two", "ray", "two_bf16"}
    assert all(seconds > 0 for clocks in result["seconds"].values() for seconds in clocks.values())
    buckets = result["profile"]["buckets"]
    gradients = result["traffic"]["fp32"][0]["counted"]["allreduce_"] - 8
    assert sum(size for _, size in buckets) == gradients
    assert [share for share, _ in buckets] == sorted(share for share, _ in buckets)
    # Printed again without measuring, as tables.
    (tmp_path / "result.json").write_text(done.stdout)
    again = subprocess.run(
        [AMC, "bench", "scale", "--from", "result.json", "--markdown"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "| as measured | fp32 |" in again.stdout
    assert not again.stderr
