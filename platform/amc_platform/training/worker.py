"""Ray Train around the loop: worker groups that are given trials, one after the other.

The loop keeps its own checkpoints on shared storage; Ray restarts a group when a worker dies, and a new driver
continues from the same files.
"""

import logging
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from amc_models.errors import InputError
from amc_platform.spec import ClusterSpec
from amc_platform.training.elastic import Growth, wait_for_room
from amc_platform.training.lane import Lane
from amc_platform.training.pool import (
    check_room,
    described,
    nodes_free,
    nodes_there,
    resources_of_worker,
    room,
    wanted,
)

_ON_ONE_MACHINE = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""For a Ray that is started and ended with the command: no process that waits for nodes to be drained (two seconds of
a core), and no two seconds until the end of the workers is seen."""


def work(lane: Lane, cluster: ClusterSpec) -> None:
    """Do what `lane` is given in one worker group, until it is closed. Blocks; a group is a thread of its driver.

    With a range of workers, another group takes over from the last checkpoint whenever a worker is lost or there is
    room for more. Raises InputError for what the user has to mend (an unreadable image), RuntimeError when the group
    failed more often than `cluster.max_failures` allows. A loss that diverges ends its trial only.
    """
    if cluster.least == cluster.most:
        _tell_if_full(cluster, lane.report)
        _group(lane, cluster, cluster.most, cluster.max_failures)
        return
    fits = partial(_fits, cluster)
    failures = 0
    while (job := lane.receive(lane.first_open)) is not None:
        size = wait_for_room(job.experiment.sizes, fits, lane.report)
        try:
            with Growth(lane, job, size, fits):
                _group(lane, cluster, size, 0)
        except InputError:
            raise
        except Exception as error:
            # A group that found no room after all is no failure of a worker.
            failures += _is_failure(error)
            if failures > cluster.max_failures:
                raise
            lane.report(f"{job.label}: lost {size} workers; starting again with as many as there is room for")


def _group(lane: Lane, cluster: ClusterSpec, size: int, max_failures: int) -> None:
    try:
        fit(_worker, {"lane": lane}, cluster, size, max_failures=max_failures)
    except Exception as error:
        if lane.hang.exists():
            raise RuntimeError(lane.hang.read_text(encoding="utf-8")) from error
        raise
    finally:
        if lane.fault:
            raise InputError(lane.fault)


def fit(
    function: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    cluster: ClusterSpec,
    size: int,
    *,
    max_failures: int,
) -> None:
    """Run `function(config)` in `size` workers, placed as `cluster` says; blocks until they are done."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    with tempfile.TemporaryDirectory(prefix="amc-ray-train-") as storage:
        TorchTrainer(
            function,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=size,
                use_gpu=cluster.gpus_per_worker > 0,
                resources_per_worker=resources_of_worker(cluster),
                accelerator_type=cluster.accelerator_type,
                label_selector=cluster.labels or None,
                placement_strategy=cluster.placement.upper(),
            ),
            # A fresh name: under an old one Ray would resume from its own snapshot and skip the loop.
            run_config=RunConfig(
                name=f"amc-{uuid.uuid4().hex[:8]}",
                storage_path=storage,
                failure_config=FailureConfig(
                    max_failures=max_failures,
                    controller_failure_limit=-1 if cluster.least == cluster.most else 0,
                ),
            ),
        ).fit()


def _is_failure(error: Exception) -> bool:
    from ray.train import ControllerError

    return not isinstance(error, ControllerError)


def _worker(config: dict[str, Any]) -> None:
    """Runs on every worker. No restart mends an InputError, so a group that is restarted after one leaves at once."""
    from amc_platform.training.callbacks.losses import DivergedError
    from amc_platform.training.distributed import WorkerGroup
    from amc_platform.training.hang import HangWatch
    from amc_platform.training.loop import run_trial
    from amc_platform.training.shortage import halved, is_shortage, note_shortage

    lane: Lane = config["lane"]
    if lane.fault:
        return
    group = WorkerGroup.current()
    report = lane.report if group.leads else _silent
    if group.leads and lane.hang.exists():
        report(f"{lane.hang.read_text(encoding='utf-8')}; the workers were started again")
        lane.hang.unlink()
    number = group.gather(lane.first_open)[0]
    while (job := lane.receive(number)) is not None:
        if job.experiment.shares % group.size:
            return
        error, most = "", job.experiment.cluster.most
        try:
            finer = 2 if halved(job, lane, group) else 1
            job = replace(job, experiment=job.experiment.cut_for(group.size, finer=finer))
            limit_s = job.experiment.cluster.hang_timeout_s
            with HangWatch(lane.signs, lane.hang, group.rank, limit_s) as watch:
                run_trial(job, group, report, [watch])
        except DivergedError as diverged:
            error = str(diverged)
        except InputError as fault:
            # The other ranks may be waiting for this one: the failure ends them too.
            lane.fail(str(fault))
            raise
        except Exception as failure:
            if is_shortage(failure):
                note_shortage(lane, group, failure)
            raise
        if group.gather(lane.resize.exists() and not job.done)[0]:
            return
        if group.leads:
            lane.finish(number, error)
        if group.size < most:
            # The next trial may find more room.
            return
        number += 1


def _silent(_: str) -> None:
    """What ranks other than 0 say to people."""


@contextmanager
def ray_session(cluster: ClusterSpec, tell: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """A Ray to work in: the one at `cluster.address`, one that this process already joined, or a new local one.

    Raises InputError where there is none at the address, or where it has no nodes for one group, after `cluster.wait`;
    `tell` hears that they are waited for.
    """
    # An editable install or a plain checkout is imported as it is; Ray would else copy the working directory around.
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    if cluster.address is None:
        for name, value in _ON_ONE_MACHINE.items():
            os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        check_room(cluster, tell)
        yield
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
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
    if threading.current_thread() is threading.main_thread():
        # Ray takes the signal for itself, and would leave at once.
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        check_room(cluster, tell)
        yield
    finally:
        ray.shutdown()


def check_room_early(cluster: ClusterSpec) -> None:
    """Refuse what the cluster has no nodes for before anything is prepared for it. Raises InputError.

    Nothing to look at where Ray is started with the command, which offers the cores that are asked for, or where nodes
    may be waited for.
    """
    more_than_cores = cluster.gpus_per_worker or cluster.accelerator_type or cluster.labels
    if cluster.wait is False and (cluster.address is not None or more_than_cores):
        with ray_session(cluster):
            pass


def vital_addresses() -> dict[str, tuple[str, int]]:
    """Where the head of the cluster and this node's raylet listen: without either this process can do nothing."""
    import ray

    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    own = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return {
        "the head of the Ray cluster": (host, int(port)),
        "the Ray of this machine": (own["NodeManagerAddress"], own["NodeManagerPort"]),
    }


def groups_that_fit(cluster: ClusterSpec) -> int:
    """How many worker groups, as small as they may be, the whole cluster holds at a time."""
    return room(nodes_there(), cluster) // cluster.least


def room_for_another(cluster: ClusterSpec) -> bool:
    """Whether a worker group could start just now."""
    return _fits(cluster, cluster.least)


def _fits(cluster: ClusterSpec, workers: int) -> bool:
    """Whether `workers` more could be placed just now."""
    return room(nodes_free(), cluster) >= workers


def _tell_if_full(cluster: ClusterSpec, tell: Callable[[str], None]) -> None:
    """Ray places workers when there is room; until then, people should know what is waited for."""
    for look_s in (0.5, 0.5, 1.0, 0.0):
        if _fits(cluster, cluster.least):
            return
        time.sleep(look_s)
    tell(f"waiting for room for {wanted(cluster)}; free is {described(nodes_free())}")


def _local_cpus(cluster: ClusterSpec) -> int:
    """A local Ray offers at least what was asked for: on a small machine workers then share cores."""
    return max(os.cpu_count() or 1, round(cluster.most * cluster.cpus_per_worker + 0.5))
