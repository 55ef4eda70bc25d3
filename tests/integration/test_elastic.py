"""Two workers, one after a node is lost, two again when another joins: the weights of an undisturbed training."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from following import AMC, wait_for
from safetensors.torch import load_file
from small_experiment import write_experiment
from torch.multiprocessing.spawn import spawn

from amc_platform.search.driver import ready_plan
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.loop import run_trial
from amc_platform.training.trial import TrialJob

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def train_alone(_: int, job: TrialJob) -> None:
    alone = replace(job, experiment=job.experiment.cut_for(1))
    run_trial(alone, WorkerGroup(0, 1, torch.device("cpu")))


def test_a_training_shrinks_and_grows_with_the_cluster(tmp_path: Path, cluster: Any) -> None:
    spec = write_experiment(
        tmp_path,
        training={"steps": 800, "lr": 0.001, "lr_min": 0.0001, "warmup_steps": 2, "log_every": 5}
        | {"checkpoint_every": 5},
        cluster={"workers": {"min": 1, "max": 2}},
        evaluation={"splits": ["test"]},
        tracking={"kind": "none"},
    )
    (wanted,) = ready_plan(spec, [f"output={tmp_path}/alone"], fresh=False, progress=None).jobs
    second = cluster.add_node(num_cpus=1)
    log = tmp_path / "run.log"
    with log.open("wb") as file:
        driver = subprocess.Popen(
            [AMC, "run", str(spec), "--set", f"cluster.address={cluster.address}"],
            cwd=tmp_path,
            stdout=file,
            stderr=file,
        )
    trial = tmp_path / "runs" / "trials" / wanted.identity

    def sizes() -> list[int]:
        path = trial / "status.json"
        return [size for _, size in json.loads(path.read_text())["world_sizes"]] if path.is_file() else []

    try:
        wait_for(lambda: list(trial.glob("checkpoints/*.pt")), driver, log)
        cluster.remove_node(second, allow_graceful=False)
        wait_for(lambda: sizes() == [2, 1], driver, log)
        cluster.add_node(num_cpus=1)
        wait_for(lambda: sizes() == [2, 1, 2], driver, log)
        assert driver.wait(400) == 0, log.read_text()
    finally:
        driver.kill()
        driver.wait()
    starts = [step for step, _ in json.loads((trial / "status.json").read_text())["world_sizes"]]
    assert starts[0] == 0 < starts[1] < starts[2] < 800
    said = log.read_text()
    assert "lost 2 workers; starting again with as many as there is room for" in said
    assert "room for 2 workers in place of 1" in said
    # In a process of its own, where no shape is checked: 800 steps take a fifth of the time.
    spawn(train_alone, args=(wanted,), nprocs=1)
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (trial, wanted.folder))
    assert max((ours[name] - theirs[name]).abs().max().item() for name in theirs) <= 1e-5
