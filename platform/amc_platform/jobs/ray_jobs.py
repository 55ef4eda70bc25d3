"""A Ray cluster that runs already, by its Jobs API."""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from amc_models.errors import InputError
from amc_platform.jobs.launcher import JobState, State
from amc_platform.jobs.record import Job
from amc_platform.jobs.target import RayTarget
from amc_platform.jobs.token import authorization, check_cluster, read_token
from amc_platform.jobs.wheel import unpack

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_Answer = TypeVar("_Answer")
_STATES: dict[str, State] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "STOPPED": "stopped",
    "SUCCEEDED": "done",
    "FAILED": "failed",
}
_GRACE_S = 60
_ELSEWHERE = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


class RayLauncher:
    """The job's driver runs on the head node; the code comes as the unpacked wheel, by Ray's own storage."""

    shares_files = False

    def __init__(self, target: RayTarget) -> None:
        self._target = target
        # The environment of a job says where its own cluster is.
        self.forced = ["cluster.address=auto"]
        self._token = read_token(target)

    def check(self, *, insecure: bool) -> None:
        """Refuse an open cluster and one that does not know the token."""
        check_cluster(self._target, self._token, insecure=insecure)

    def write(self, job: Job) -> None:
        """Nothing but the wheel and the spec."""

    def send(self, job: Job) -> str:
        """Submit it."""
        with tempfile.TemporaryDirectory(prefix="amc-submit-") as folder:
            # Ray would install a wheel by the `pip` that comes first on the head's PATH, which may be another Python's.
            unpack(job.wheel, Path(folder))
            shutil.copy(job.spec, Path(folder) / "spec.yaml")
            # Time to save where a training stands, before the job is killed.
            variables = {**job.environment, "RAY_JOB_STOP_WAIT_TIME_S": str(_GRACE_S)}
            self._ask(
                lambda client: client.submit_job(
                    entrypoint=entrypoint(self._target),
                    submission_id=job.name,
                    runtime_env={"working_dir": folder, "env_vars": variables},
                    metadata={"experiment": job.experiment},
                )
            )
        return f"submitted to {self._target.address}"

    def state(self, job: Job) -> JobState:
        """As the cluster says."""
        info = self._ask(lambda client: client.get_job_info(job.name))
        ended = info.status in ("FAILED", "STOPPED")
        # The first line: the end of the log follows.
        return JobState(_STATES[info.status], (info.message or "").partition("\n")[0] if ended else "")

    def log(self, job: Job, *, follow: bool) -> Iterator[str]:
        """The driver's output."""
        if not follow:
            yield self._ask(lambda client: client.get_job_logs(job.name))
            return
        pieces = self._ask(lambda client: client.tail_job_logs(job.name))
        with asyncio.Runner() as runner:
            while True:
                try:
                    piece = runner.run(_next(pieces))
                except (RuntimeError, OSError) as error:
                    raise InputError(f"{self._target.address}: {_first_line(error)}; ask again") from error
                if piece is None:
                    return
                yield piece

    def stop(self, job: Job) -> None:
        """SIGTERM; after a minute Ray kills what is left."""
        self._ask(lambda client: client.stop_job(job.name))

    def _ask(self, question: "Callable[[JobSubmissionClient], _Answer]") -> _Answer:
        with _no_other_address():
            from ray.job_submission import JobSubmissionClient

            try:
                client = JobSubmissionClient(self._target.address, headers=authorization(self._token))
                return question(client)
            except (RuntimeError, OSError, ValueError) as error:
                raise InputError(f"{self._target.address}: {_first_line(error)}; check the target") from error


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def entrypoint(target: RayTarget) -> str:
    """The shell command of the job; its interpreter is absolute, since the PATH of a head may hold another one."""
    command = f"exec {shlex.quote(target.python)} -m amc_platform.cli run spec.yaml"
    return f"set -a; . {shlex.quote(target.env_file)}; set +a; {command}" if target.env_file else command


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def _no_other_address() -> Iterator[None]:
    """Ray's client would go where these variables point, with the token of the cluster that was checked."""
    kept = {name: os.environ.pop(name) for name in _ELSEWHERE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
