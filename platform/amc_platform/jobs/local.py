"""The background of this machine."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.jobs.beside import ending, read_log
from amc_platform.jobs.launcher import JobState
from amc_platform.jobs.record import Job
from amc_platform.jobs.script import LOG, opening, run_command

_SCRIPT = "run.sh"
_GRACE_S = 60.0


class LocalLauncher:
    """A process of its own session, found again by its number and the moment it started."""

    shares_files = True

    def __init__(self) -> None:
        self.forced: list[str] = []

    def check(self, *, insecure: bool) -> None:
        """Nothing can be open here: the job's Ray is its own, and asks for a token by itself."""

    def write(self, job: Job) -> None:
        """Write `run.sh`."""
        title = f"# Job {job.name}, written by `amc submit`.\n"
        body = opening(job, sys.executable) + run_command()
        write_text(job.folder / _SCRIPT, "#!/usr/bin/env bash\n" + title + body)

    def send(self, job: Job) -> str:
        """Start it."""
        # A Ray that this terminal works with is not the job's.
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        with (job.folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                ["bash", str(job.folder / _SCRIPT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        job.remember(pid=process.pid, started=started(process.pid) or 0, host=platform.node())
        return f"started as process {process.pid}"

    def state(self, job: Job) -> JobState:
        """By its exit code, else by its process."""
        handle = job.handle()
        if not handle:
            return JobState("written")
        if handle["host"] != platform.node():
            return ending(job) or JobState(
                "running", f"as far as can be seen from here; ask on {handle['host']}"
            )
        if started(handle["pid"]) == handle["started"]:
            return JobState("running", f"process {handle['pid']}")
        return ending(job) or JobState("lost", "it was killed, or the machine started anew; submit it again")

    def log(self, job: Job, *, follow: bool) -> Iterator[str]:
        """Its log file."""
        return read_log(job, lambda: self.state(job), follow=follow)

    def stop(self, job: Job) -> None:
        """SIGTERM; after a minute, SIGKILL to what is left."""
        handle = job.handle()
        if handle["host"] != platform.node():
            raise InputError(f"{job.name}: runs on {handle['host']}; stop it there")
        with suppress(ProcessLookupError):
            os.kill(handle["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while self.state(job).state == "running":
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.killpg(handle["pid"], signal.SIGKILL)
            time.sleep(0.2)


def started(pid: int) -> int | None:
    """When the process began, in ticks since the machine did; None where there is none, or it has ended."""
    try:
        # The name of the command, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
