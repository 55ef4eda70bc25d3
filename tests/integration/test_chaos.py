"""`amc chaos` with two kills: the end is the one of a training that was left alone."""

import json
import subprocess
from pathlib import Path

import pytest
from following import AMC
from small_experiment import write_experiment

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def test_a_training_that_was_killed_twice_ends_as_one_left_alone(tmp_path: Path) -> None:
    training = {"steps": 60, "lr": 0.01, "lr_min": 0.001, "warmup_steps": 2, "log_every": 1, "clip_norm": 1.0}
    spec = write_experiment(
        tmp_path,
        "test/chaos",
        training=training | {"checkpoint_every": 5},
        cluster={"workers": 2},
        evaluation={"splits": ["test"]},
    )
    # The head, so that the command given again goes on in another cluster; test_run.py kills the command itself.
    kinds = ["--of", "worker", "--of", "head"]
    done = subprocess.run(
        [AMC, "chaos", str(spec), "--kills", "2", "--seed", "1", *kinds, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert {kill["victim"] for kill in told["kills"]} == {"worker", "head"}
    assert [kill["commands"] for kill in told["kills"] if kill["victim"] == "head"] == [1]
    assert told["same"] is True
    assert told["found"]["weights"] == 0
    # 60 steps of every loss at least; 1 trial.
    assert told["found"]["points"] > 60
    assert (told["found"]["runs"], told["found"]["doubled"]) == (1, 0)
    (status,) = (tmp_path / "runs" / "test-chaos" / "chaos" / "disturbed").glob("trials/*/status.json")
    starts = json.loads(status.read_text())["world_sizes"]
    # Always felt is a worker's death alone: workers whose head dies may end the trial before they notice.
    assert len(starts) in (2, 3)
    assert all(size == 2 for _, size in starts)
