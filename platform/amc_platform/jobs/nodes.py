"""Waiting until a Ray cluster that is being started is complete: `python -m amc_platform.jobs.nodes 4`."""

import logging
import sys
import time
from typing import NoReturn

_WAIT_S = 600.0


def main() -> NoReturn:
    """Leave with 0 once as many nodes as the argument says have joined the Ray at RAY_ADDRESS, with 1 after 10 min."""
    import ray

    wanted, deadline = int(sys.argv[1]), time.monotonic() + _WAIT_S
    there = 0
    while time.monotonic() < deadline:
        try:
            if not ray.is_initialized():
                ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
            there = sum(node["Alive"] for node in ray.nodes())
        except (ConnectionError, RuntimeError, ValueError):
            there = 0
        if there >= wanted:
            sys.exit(0)
        time.sleep(1.0)
    print(f"amc: {there} of {wanted} nodes joined within {_WAIT_S:.0f} s", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
