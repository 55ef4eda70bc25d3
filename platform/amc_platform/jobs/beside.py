"""Jobs that run beside their folder: what their log and their exit code say."""

import time
from collections.abc import Callable, Iterator

from amc_platform.jobs.launcher import JobState
from amc_platform.jobs.record import Job
from amc_platform.jobs.script import EXIT, LOG

_TERMINATED = 143
_POLL_S = 0.3


def ending(job: Job) -> JobState | None:
    """How the job ended, by the exit code that it left; None where it left none."""
    path = job.folder / EXIT
    if not path.is_file():
        return None
    code = int(path.read_text(encoding="utf-8"))
    if code == 0:
        return JobState("done")
    if code == _TERMINATED:
        return JobState("stopped", "what is done is kept: the same submission goes on from there")
    return JobState("failed", f"exit code {code}; see `amc logs {job.name}`")


def read_log(job: Job, state: Callable[[], JobState], *, follow: bool) -> Iterator[str]:
    """What the job printed, in pieces; with `follow`, until `state` says that it ended."""
    path, position = job.folder / LOG, 0
    while True:
        # Asked before reading: what is printed last is there once it has ended.
        ended = not follow or state().ended
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace", newline="") as log:
                log.seek(position)
                text = log.read()
                position = log.tell()
            if text:
                yield text
        if ended:
            return
        time.sleep(_POLL_S)
