import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amc_platform.data.pools import in_order, in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(in_processes(abs, range(-20, 5), workers)) == [*range(20, 0, -1), *range(5)]


def test_no_more_than_so_many_are_under_way() -> None:
    under_way: set[int] = set()
    most: list[int] = []

    def submit(item: int) -> int:
        under_way.add(item)
        most.append(len(under_way))
        return item

    def fetch(item: int) -> int:
        under_way.remove(item)
        return item * item

    assert list(in_order(submit, fetch, range(9), ahead=3)) == [item * item for item in range(9)]
    assert max(most) == 3


def test_an_error_of_a_worker_is_the_callers() -> None:
    with pytest.raises(TypeError):
        list(in_processes(abs, [1, None, 3], 2))  # type: ignore[list-item]


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from amc_platform.data.pools import in_processes\n"
        "def pid(_):\n    time.sleep(0.2)\n    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    for worker in in_processes(pid, range(10_000), 2):\n        print(worker, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(6)}
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(_runs, workers)):
        assert time.monotonic() < deadline, workers
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed orphan stays as a zombie where nobody waits for it.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
