"""Waiting until a Ray that a script starts is complete: `python -m amc_platform.jobs.nodes NODES HEAD_PID`."""

import logging
import sys
import time
from typing import NoReturn

from amc_platform.jobs.local import started

_WAIT_S = 600.0


def main() -> NoReturn:
    """Leave with 0 once NODES have joined the Ray at RAY_ADDRESS; with 1 when its head ended, or after ten minutes."""
    import ray

    wanted, head = int(sys.argv[1]), int(sys.argv[2])
    there, deadline = 0, time.monotonic() + _WAIT_S
    while there < wanted:
        if started(head) is None:
            _give_up("Ray's head has ended; its reason is in ray-head.txt")
        if time.monotonic() > deadline:
            _give_up(f"{there} of {wanted} nodes joined within {_WAIT_S:.0f} s; see ray-workers.txt")
        time.sleep(0.5)
        try:
            if not ray.is_initialized():
                ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
            there = sum(node["Alive"] for node in ray.nodes())
        except (ConnectionError, RuntimeError, ValueError):
            there = 0
    sys.exit(0)


def _give_up(problem: str) -> NoReturn:
    print(f"amc: {problem}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
