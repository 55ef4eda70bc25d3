"""A cluster whose nodes die: one of a fixed group's, then the head; the end is the undisturbed one to the last bit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_experiment import write_experiment
from torch import distributed
from torch.multiprocessing.spawn import spawn

from amc_platform.search.driver import ready_plan
from amc_platform.search.plan import make_plan
from amc_platform.search.victims import find
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.loop import run_trial

pytestmark = pytest.mark.integration

AMC = str(Path(sys.executable).parent / "amc")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and two nodes with room for one worker each."""
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, wait=False)
        yield cluster
    finally:
        cluster.shutdown()


def kill(node: Any, *programs: str) -> None:
    for program in programs:
        os.kill(node.all_processes[program][0].process.pid, signal.SIGKILL)


def undisturbed(rank: int, folder: str) -> None:
    """The same training in two processes without Ray."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    (job,) = make_plan(Path(folder) / "spec.yaml", [f"output={folder}/alone"]).jobs
    run_trial(job, WorkerGroup.current())
    distributed.destroy_process_group()


def test_the_same_training_whatever_node_dies(tmp_path: Path, cluster: Any) -> None:
    spec = write_experiment(
        tmp_path,
        training={"steps": 400, "lr": 0.001, "lr_min": 0.0001, "warmup_steps": 2, "log_every": 5}
        | {"checkpoint_every": 5},
        cluster={"workers": 2},
        evaluation={"splits": ["test"], "gallery": 2},
        tracking={"kind": "none"},
    )
    (job,) = ready_plan(spec, [], fresh=False, progress=None).jobs
    log = tmp_path / "run.log"
    command = [AMC, "run", str(spec), "--set"]
    with log.open("wb") as file:
        driver = subprocess.Popen(
            [*command, f"cluster.address={cluster.address}"], cwd=tmp_path, stdout=file, stderr=file
        )

    def wait_for(happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 150
        while not happened():
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def starts() -> list[int]:
        path = job.folder / "status.json"
        return [step for step, _ in json.loads(path.read_text())["world_sizes"]] if path.is_file() else []

    try:
        spawn(undisturbed, args=(str(tmp_path),), nprocs=2)
        wait_for(lambda: job.steps_saved)
        (lost,) = [
            node
            for node in cluster.worker_nodes
            if find(node.all_processes["raylet"][0].process.pid, "worker")
        ]
        kill(lost, "raylet")
        wait_for(lambda: len(starts()) == 2)
        wait_for(lambda: job.steps_saved > starts()[1])
        kill(cluster.head_node, "gcs_server", "raylet")
        assert driver.wait(60) == 1, log.read_text()
    finally:
        driver.kill()
        driver.wait()
    assert "of the Ray cluster is gone" in log.read_text().strip().splitlines()[-1]
    # A new cluster: one that the command starts itself.
    done = subprocess.run(
        [*command, "cluster.address=null"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 0 == starts()[0] < starts()[1] < starts()[2] < 400
    ours, theirs = (
        load_file(folder / "model" / "model.safetensors")
        for folder in (job.folder, tmp_path / "alone" / "trials" / job.identity)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
