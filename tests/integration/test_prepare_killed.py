"""`amc prepare` killed in the middle with SIGKILL, and given again."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from following import AMC
from raw_prepare import write_raw

from amc_platform.data.table import read_rows


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough photos for parts of 1 MB that a kill comes between them."""
    folder = tmp_path_factory.mktemp("raw") / "raw"
    write_raw(folder, 700, (640, 480))
    return folder


def command(raw: Path, out: Path, *, workers: int) -> list[str]:
    options = ["--image-size", "500", "--shard-mb", "1", "--workers", str(workers), "--json"]
    return [AMC, "prepare", "flickr30k-entities", "--raw", str(raw), "--out", str(out), *options]


def files(table: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in table.glob("part-*")}


def test_killed_twice_it_ends_as_if_never_killed(raw: Path, tmp_path: Path) -> None:
    table = tmp_path / "killed.parquet"
    kept: dict[str, tuple[int, int]] = {}
    for parts, workers in ((2, 2), (6, 1)):
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command(raw, table, workers=workers), stdout=log, stderr=log)
            deadline = time.monotonic() + 200
            while len(list(table.glob("part-*"))) < parts:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not (table / "_table.json").exists()
        now = files(table)
        # No finished part was written again.
        assert {name: now[name] for name in kept} == kept
        kept = now
    said = []
    for out in (table, tmp_path / "whole.parquet"):
        done = subprocess.run(
            command(raw, out, workers=2), capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    now = files(table)
    assert {name: now[name] for name in kept} == kept
    assert len(now) > len(kept)
    assert said[0]["content_hash"] == said[1]["content_hash"]
    assert said[0]["images"] == 700
    names = sorted(path.name for path in table.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "whole.parquet").iterdir())
    for name in names:
        assert (table / name).read_bytes() == (tmp_path / "whole.parquet" / name).read_bytes()
    assert [row.image_id for row in read_rows(table)] == [str(i) for i in range(700)]
