"""`amc prepare --on-ray` on a Ray that it starts itself."""

import json
import subprocess
from pathlib import Path

from following import AMC
from raw_prepare import write_raw


def test_ray_makes_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", 100)
    (tmp_path / "raw" / "flickr30k-images" / "40.jpg").write_bytes(b"no image")
    options = [
        "--image-size",
        "128",
        "--fit",
        "square",
        "--shard-mb",
        "1",
        "--max-rejected",
        "0.01",
        "--json",
    ]
    said = []
    for out, how in (("process.parquet", ["--workers", "1"]), ("ray.parquet", ["--on-ray"])):
        done = subprocess.run(
            [AMC, "prepare", "flickr30k-entities", "--raw", "raw", "--out", out, *how, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr
        assert "images: 100 of 100" in done.stderr
        said.append(json.loads(done.stdout))
    assert said[0]["content_hash"] == said[1]["content_hash"]
    assert said[0]["rejected"]["images"] == said[1]["rejected"]["images"] == 1
    one, ray = tmp_path / "process.parquet", tmp_path / "ray.parquet"
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in ray.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (ray / name).read_bytes()
