"""`amc evaluate`, `compare` and `explain` as a user gives them: processes, files of boxes, protocols of one's own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from following import AMC
from PIL import Image
from pyarrow import parquet

from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.table import read_rows
from amc_platform.evaluation.protocol import Protocol


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 70 images: five batches of evaluation, the last of them not full."""
    folder = tmp_path_factory.mktemp("evaluate")
    prepare_scenes(folder / "scenes.parquet", train=0, val=6, test=70, unseen=0, workers=1)
    return folder


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> str:
    return str(repository / "experiments" / "scenes" / "pretrained")


def amc(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [AMC, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def evaluated(folder: Path, checkpoint: str, *arguments: str) -> dict[str, Any]:
    return json.loads(
        amc(folder, "evaluate", checkpoint, "--on", "scenes.parquet", "--json", *arguments).stdout
    )


@pytest.fixture(scope="module")
def said(folder: Path, checkpoint: str) -> dict[str, Any]:
    """What one worker says; its hits are in `1.parquet`."""
    return evaluated(folder, checkpoint, "--workers", "1", "--out", "1.parquet")


def test_any_number_of_workers_gives_the_same_bits(
    folder: Path, checkpoint: str, said: dict[str, Any]
) -> None:
    one = parquet.read_table(folder / "1.parquet")
    assert one.num_rows == said["pointing"]["all"]["total"] > 300
    assert evaluated(folder, checkpoint, "--workers", "3", "--out", "3.parquet") == said
    # Scores are compared too: equal to the last bit of their float32.
    assert parquet.read_table(folder / "3.parquet").equals(one)


def test_several_splits_are_told_together(folder: Path, checkpoint: str, said: dict[str, Any]) -> None:
    both = evaluated(folder, checkpoint, "--split", "test", "--split", "val")
    assert both["splits"] == ["test", "val"]
    assert both["pointing"]["all"]["total"] > said["pointing"]["all"]["total"]
    assert both["pointing"]["split test"]["hits"] == said["pointing"]["all"]["hits"]


def test_an_error_of_a_worker_is_one_line(folder: Path, checkpoint: str) -> None:
    done = amc(
        folder,
        "evaluate",
        "nowhere",
        "--on",
        "scenes.parquet",
        "--workers",
        "2",
        "--protocol",
        "scenes",
        code=2,
    )
    assert done.stderr.strip().splitlines()[-1].startswith("amc: nowhere")


def test_a_protocol_of_ones_own(folder: Path, checkpoint: str, said: dict[str, Any]) -> None:
    (folder / "large.yaml").write_text("resolution: 128\nresize: pil_bicubic\n")
    own = evaluated(folder, checkpoint, "--protocol", "large.yaml")
    protocol = Protocol(name="large", resolution=128, resize="pil_bicubic")
    assert (own["protocol"], own["protocol_hash"]) == ("large", protocol.hash)
    assert own["pointing"]["all"]["total"] == said["pointing"]["all"]["total"]
    assert own["pointing"] != said["pointing"]


def test_recall_over_proposals(folder: Path, checkpoint: str, said: dict[str, Any]) -> None:
    rows = read_rows(folder / "scenes.parquet", splits={"test"})
    entries = [
        {"image_id": row.image_id, "box": [x1, y1, x2 - x1, y2 - y1], "category_id": 1, "score": 0.9}
        for row in rows[1:]
        for x1, y1, x2, y2 in {phrase.boxes[0] for phrase in row.phrases}
    ]
    (folder / "dets.json").write_text(json.dumps(entries))
    result = evaluated(folder, checkpoint, "--proposals", "dets.json")
    recall = result["recall_at_1"]["all"]
    assert result["pointing"] == said["pointing"]
    assert recall["total"] == said["pointing"]["all"]["total"]
    # Every box is that of some phrase, so that one of each image at least is right; the first image has none.
    assert 0 < recall["hits"] <= recall["total"] - len(rows[0].phrases)
    assert result["phrases_without_box"] >= len(rows[0].phrases)
    (folder / "dets.json").write_text(json.dumps([{"image_id": 1, "box": [0, 0, 1, 1]}]))
    arguments = ["--on", "scenes.parquet", "--proposals", "dets.json"]
    assert (
        "no box is of an image of the table" in amc(folder, "evaluate", checkpoint, *arguments, code=2).stderr
    )


def test_a_detector_is_a_row_too(folder: Path, checkpoint: str, said: dict[str, Any]) -> None:
    rows = read_rows(folder / "scenes.parquet", splits={"test"})
    entries = [
        {"image_id": row.image_id, "text": text, "box": [x1, y1, x2 - x1, y2 - y1]}
        for row in rows
        for text, (x1, y1, x2, y2) in {phrase.text: phrase.boxes[0] for phrase in row.phrases}.items()
    ]
    (folder / "best.json").write_text(json.dumps(entries))
    result = evaluated(folder, "best.json", "--out", "best.parquet")
    assert result["protocol"] == "box-centre"
    assert result["pointing"]["all"]["percent"] == result["recall_at_1"]["all"]["percent"] == 100
    wrong = amc(folder, "evaluate", "best.json", "--on", "scenes.parquet", "--protocol", "scenes", code=2)
    assert "the protocol scenes wants a checkpoint" in wrong.stderr
    # Another protocol: not to be compared with heatmaps unseen.
    assert (
        "evaluate both under one protocol"
        in amc(folder, "compare", "best.parquet", "1.parquet", code=2).stderr
    )


def test_two_rows_are_compared(folder: Path, said: dict[str, Any]) -> None:
    groups = json.loads(amc(folder, "compare", "1.parquet", "1.parquet", "--json").stdout)["groups"]
    assert groups["all"]["difference"] == groups["all"]["low"] == groups["all"]["high"] == 0
    assert groups["all"]["p"] == 1
    assert groups["all"]["first"] == pytest.approx(said["pointing"]["all"]["percent"])
    assert (
        groups["spatial words"]["phrases"] + groups["no spatial words"]["phrases"] == groups["all"]["phrases"]
    )
    table = amc(folder, "compare", "1.parquet", "1.parquet").stdout
    assert table.splitlines()[2].split()[0] == "all"


def test_what_is_looked_at_is_drawn_and_kept(folder: Path, checkpoint: str, said: dict[str, Any]) -> None:
    row = read_rows(folder / "scenes.parquet", splits={"test"})[0]
    (folder / "scene.png").write_bytes(row.image)
    texts = [phrase.text for phrase in row.phrases]
    shown = json.loads(
        amc(folder, "explain", checkpoint, "scene.png", *texts, "--out", "seen", "--json").stdout
    )
    hits = parquet.read_table(folder / "1.parquet").to_pylist()[: len(texts)]
    for one, hit in zip(shown["phrases"], hits, strict=True):
        assert (one["phrase"], one["point"]) == (hit["text"], [hit["point_x"], hit["point_y"]])
        assert one["score"] == pytest.approx(hit["score"], rel=1e-5)
        with Image.open(folder / one["picture"]) as picture:
            assert picture.width == 256
    with np.load(folder / "seen" / "heatmaps.npz") as file:
        kept = dict(file)
    assert kept["maps"].shape == (len(texts), 8, 8)
    assert kept["maps"].max(axis=(1, 2)).tolist() == pytest.approx([one["score"] for one in shown["phrases"]])
    assert kept["phrases"].tolist() == texts


def test_the_fast_way_is_measured_against_the_plain_one(folder: Path) -> None:
    arguments = ["--size", "small", "--phrases", "2", "--images", "1", "--json"]
    result = json.loads(amc(folder, "bench", "evaluate", *arguments).stdout)
    assert result["equal"]
    assert result["points"] == 2
    assert result["end_to_end"]["ratio"] > 1
