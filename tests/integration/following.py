"""A command under way, of which a test waits for something."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

AMC = str(Path(sys.executable).parent / "amc")


def wait_for(
    happened: Callable[[], object], process: "subprocess.Popen[bytes]", log: Path, limit_s: float = 300
) -> None:
    """Until `happened`, while `process` lives; else fails with what it said in `log`."""
    deadline = time.monotonic() + limit_s
    while not happened():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
