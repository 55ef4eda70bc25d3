"""What every kind of place can do with a job."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from amc_platform.jobs.record import Job
from amc_platform.jobs.target import AnyTarget, KuberayTarget, RayTarget, SlurmTarget

State: TypeAlias = Literal["written", "waiting", "running", "done", "failed", "stopped", "lost"]
ENDED: tuple[State, ...] = ("done", "failed", "stopped", "lost")
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job stands."""

    state: State
    """written: nothing was sent; waiting: for its place or its machines; lost: gone without saying how it ended."""
    detail: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


@runtime_checkable
class Launcher(Protocol):
    """One kind of place. Every verb raises InputError where the place does not answer or refuses."""

    forced: list[str]
    """`a.b=c` of the spec that follow from the kind of place."""
    shares_files: bool
    """Whether the job sees the folder of its record."""

    def check(self, *, insecure: bool) -> None:
        """Refuse what can be refused before anything is made."""
        ...

    def write(self, job: Job) -> None:
        """Write into the job's folder what is to be sent."""
        ...

    def send(self, job: Job) -> str:
        """Start the job; returns a line on what became of it."""
        ...

    def state(self, job: Job) -> JobState:
        """Where it stands."""
        ...

    def log(self, job: Job, *, follow: bool) -> Iterator[str]:
        """What it printed so far, in pieces; with `follow`, until it ends."""
        ...

    def stop(self, job: Job) -> None:
        """Have it save where it stands, and end; returns when that is asked for, or done."""
        ...


def launcher_of(target: AnyTarget) -> Launcher:
    """The launcher of a target's kind."""
    if isinstance(target, RayTarget):
        from amc_platform.jobs.ray_jobs import RayLauncher

        return RayLauncher(target)
    if isinstance(target, KuberayTarget):
        from amc_platform.jobs.kuberay import KuberayLauncher

        return KuberayLauncher(target)
    if isinstance(target, SlurmTarget):
        from amc_platform.jobs.slurm import SlurmLauncher

        return SlurmLauncher(target)
    from amc_platform.jobs.local import LocalLauncher

    return LocalLauncher()
