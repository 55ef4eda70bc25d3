"""A job as `amc submit` records it, without anything being sent."""

from pathlib import Path

from amc_platform.jobs.record import Job
from amc_platform.jobs.target import AnyTarget


def written_job(folder: Path, target: AnyTarget, wheel: bytes = b"wheel") -> Job:
    """Write a job's folder with a spec and a wheel that holds `wheel`."""
    job = Job(
        name="amc-test-small-0a1b2c",
        experiment="test/small",
        to="there",
        target=target,
        folder=folder / "amc-test-small-0a1b2c",
        output=folder,
        submitted_at=0.0,
        source={"AMC_GIT_SHA": "5ha", "AMC_GIT_DIRTY": "false", "wheel": "dige5t"},
    )
    job.folder.mkdir()
    (job.folder / "amc_platform-0.1.0-py3-none-any.whl").write_bytes(wheel)
    (job.folder / "spec.yaml").write_text("name: test/small\n")
    job.write(job.folder)
    return job
