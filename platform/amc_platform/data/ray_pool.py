"""A function over many items on a Ray cluster, results in the order of the items."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from amc_models.errors import InputError
from amc_platform.data.pools import in_order

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_ray(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """`function` of every item, as tasks of one core, `workers` at once (None: as many as the cluster has cores).

    Ray is the one that this process joined, the one at RAY_ADDRESS, or a new one on this machine. A task whose
    node is lost is run again elsewhere. Raises InputError where no Ray answers.
    """
    import ray

    with _ray():
        at_once = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

        @ray.remote(num_cpus=1, max_retries=5)
        def task(item: Item) -> Result:
            return function(item)

        # One more batch than cores waits at the cluster, so that no core waits for this process.
        yield from in_order(task.remote, ray.get, items, ahead=2 * at_once)


@contextmanager
def _ray() -> Iterator[None]:
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise InputError(
            f"RAY_ADDRESS: no Ray at {address} ({error}); start it, or leave it unset"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
