"""Ray Train around the loop: one worker group trains all trials of a plan, one after the other.

Starting a group costs 20 to 40 s, so it is not paid for each trial. The loop keeps its own checkpoints on shared
storage; Ray restarts the group when a worker dies, and a new driver continues from the same files.
"""

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.spec import ClusterSpec
from amc_platform.training.trial import TrialJob


@dataclass(frozen=True)
class WorkerTask:
    """What every worker receives."""

    jobs: tuple[TrialJob, ...]
    progress: Path
    """File that rank 0 appends lines to, for people to read."""

    @property
    def fault(self) -> Path:
        """File in which a worker leaves the message of an InputError."""
        return self.progress.with_suffix(".fault")


def train_on_ray(jobs: Sequence[TrialJob], cluster: ClusterSpec, progress: Path) -> None:
    """Train and evaluate `jobs` in one worker group. Blocks until all are done.

    Raises InputError for what the user has to mend (a diverged loss, an unreadable image, more workers than the
    cluster can hold), RuntimeError when the group failed more often than `cluster.max_failures` allows.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    task = WorkerTask(tuple(jobs), progress)
    task.fault.unlink(missing_ok=True)
    with _ray(cluster), tempfile.TemporaryDirectory(prefix="amc-ray-train-") as storage:
        _check_resources(cluster)
        resources = {"CPU": cluster.cpus_per_worker}
        if cluster.gpus_per_worker:
            resources["GPU"] = cluster.gpus_per_worker
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"task": task},
            scaling_config=ScalingConfig(
                num_workers=cluster.workers,
                use_gpu=cluster.gpus_per_worker > 0,
                resources_per_worker=resources,
            ),
            # A fresh name: under an old one Ray would resume from its own snapshot and skip the loop.
            run_config=RunConfig(
                name=f"amc-{uuid.uuid4().hex[:8]}",
                storage_path=storage,
                failure_config=FailureConfig(max_failures=cluster.max_failures),
            ),
        )
        try:
            trainer.fit()
        finally:
            if task.fault.exists():
                raise InputError(task.fault.read_text(encoding="utf-8"))


def _worker(config: dict[str, Any]) -> None:
    """Runs on every worker. No restart mends an InputError, so a group that is restarted after one leaves at once."""
    from amc_platform.training.distributed import WorkerGroup
    from amc_platform.training.loop import run_trial

    task: WorkerTask = config["task"]
    if task.fault.exists():
        return
    group = WorkerGroup.current()

    def report(line: str) -> None:
        if group.leads:
            with task.progress.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    try:
        for job in task.jobs:
            run_trial(job, group, report)
    except InputError as error:
        # The other ranks may be waiting for this one: the failure ends them too.
        write_text(task.fault, str(error))
        raise


@contextmanager
def _ray(cluster: ClusterSpec) -> Iterator[None]:
    """A Ray to work in: the one at `cluster.address`, one that this process already joined, or a new local one."""
    # An editable install or a plain checkout is imported as it is; Ray would else copy the working directory around.
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=cluster.address or "local",
            include_dashboard=False if cluster.address is None else None,
            num_cpus=_local_cpus(cluster) if cluster.address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise InputError(
            f"cluster.address: no Ray at {cluster.address} ({error}); start it, or leave the field out"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _local_cpus(cluster: ClusterSpec) -> int:
    """A local Ray offers at least what was asked for: on a small machine workers then share cores."""
    return max(os.cpu_count() or 1, round(cluster.workers * cluster.cpus_per_worker + 0.5))


def _check_resources(cluster: ClusterSpec, wait_s: float = 10.0) -> None:
    """Refuse at once what the cluster can never place."""
    import ray

    wanted = {
        "CPU": cluster.workers * cluster.cpus_per_worker,
        "GPU": cluster.workers * cluster.gpus_per_worker,
    }
    deadline = time.monotonic() + wait_s
    while True:
        there = ray.cluster_resources()
        lacking = [name for name, amount in wanted.items() if amount > there.get(name, 0)]
        if not lacking:
            return
        if time.monotonic() > deadline:
            name = lacking[0]
            raise InputError(
                f"cluster: {cluster.workers} workers need {wanted[name]:g} {name}, the Ray cluster has "
                f"{there.get(name, 0):g}; lower cluster.workers or join more nodes"
            )
        time.sleep(0.5)
