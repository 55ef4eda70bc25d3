"""A cluster whose nodes die under a fixed number of workers: the node of one of them, then the head."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from following import AMC, wait_for
from small_experiment import write_experiment

from amc_platform.search.driver import ready_plan
from amc_platform.search.victims import find
from amc_platform.training.checkpoint import intact, newest_intact

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def kill(node: Any, *programs: str) -> None:
    for program in programs:
        os.kill(node.all_processes[program][0].process.pid, signal.SIGKILL)


def test_a_fixed_group_survives_a_node_and_its_training_the_head(tmp_path: Path, cluster: Any) -> None:
    # A head and two nodes, with room for one worker each.
    for _ in range(2):
        cluster.add_node(num_cpus=1, wait=False)
    spec = write_experiment(
        tmp_path,
        training={"steps": 100_000, "lr": 0.001, "lr_min": 0.0001, "warmup_steps": 2, "log_every": 5}
        | {"checkpoint_every": 5},
        cluster={"workers": 2},
        evaluation={"splits": ["test"], "gallery": 2},
        tracking={"kind": "none"},
    )
    (job,) = ready_plan(spec, [], fresh=False, progress=None).jobs
    log = tmp_path / "run.log"
    command = [AMC, "run", str(spec), "--set", f"cluster.address={cluster.address}"]
    with log.open("wb") as file:
        driver = subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=file)

    def starts() -> list[int]:
        path = job.folder / "status.json"
        return [step for step, _ in json.loads(path.read_text())["world_sizes"]] if path.is_file() else []

    try:
        wait_for(lambda: job.steps_saved, driver, log)
        # Of the head and two nodes, any two have a worker.
        trains = [n for n in cluster.worker_nodes if find(n.all_processes["raylet"][0].process.pid, "worker")]
        kill(trains[0], "raylet")
        wait_for(lambda: len(starts()) == 2, driver, log)
        wait_for(lambda: job.steps_saved > starts()[1], driver, log)
        kill(cluster.head_node, "gcs_server", "raylet")
        assert driver.wait(120) == 1, log.read_text()
    finally:
        driver.kill()
        driver.wait()
    last = log.read_text().strip().splitlines()[-1]
    assert "is gone; the same command goes on from the last checkpoints" in last
    first, second = starts()
    assert 0 == first < second < job.steps_saved
    assert f"goes on from step {second}" in log.read_text()
    # What the same command, given again, goes on from; test_chaos.py and infra/failures.md say how it ends.
    state = newest_intact(job.states, pytest.fail)
    assert state is not None
    assert intact(state)["workers"] == 2
