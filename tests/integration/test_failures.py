"""A worker that hangs, and a machine that is taken away, in one run with two real workers."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from following import AMC, wait_for
from small_experiment import write_experiment

from amc_platform.search.victims import find

pytestmark = [pytest.mark.integration, pytest.mark.soak]

LONG = {"steps": 100_000, "lr": 0.01, "lr_min": 0.001, "warmup_steps": 2, "log_every": 50, "clip_norm": 1.0}


def test_a_hanging_rank_is_named_and_a_terminated_command_saves_its_state(tmp_path: Path) -> None:
    spec = write_experiment(
        tmp_path,
        training=LONG | {"checkpoint_every": 100_000},
        cluster={"workers": 2, "hang_timeout_s": 10},
        evaluation={"splits": ["test"]},
        tracking={"kind": "none"},
    )
    log = tmp_path / "run.log"
    with log.open("wb") as file:
        driver = subprocess.Popen([AMC, "run", str(spec)], cwd=tmp_path, stdout=file, stderr=file)
    try:
        wait_for(lambda: "step 50/" in log.read_text(), driver, log, 200)
        stopped = find(driver.pid, "worker")[1]
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: "hangs" in log.read_text(), driver, log, 200)
        told = re.search(
            r"no step within 10 s after step (\d+): rank ([01]) \(process (\d+) on", log.read_text()
        )
        assert told, log.read_text()
        assert int(told[1]) >= 50
        assert int(told[3]) == stopped
        # Nothing was saved: it starts over.
        wait_for(lambda: log.read_text().count("step 50/") == 2, driver, log, 200)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(120) == 143
    finally:
        driver.kill()
        driver.wait()
    assert log.read_text().strip().splitlines()[-1] == "amc: terminated; the same command goes on from here"
    (trial,) = (tmp_path / "runs" / "trials").iterdir()
    status = json.loads((trial / "status.json").read_text())
    assert status["state"] == "partial"
    assert status["world_sizes"] == [[0, 2], [0, 2]]
    (saved,) = (trial / "checkpoints").glob("step-*.pt")
    assert saved.name == f"step-{status['steps']:08d}.pt"
    # At once, and not with the next record of the losses or the next checkpoint.
    assert 50 < status["steps"] < 100
