"""What is remembered of a submitted job: enough for its name to be all that is needed later."""

import json
import os
import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amc_models.errors import InputError
from amc_platform.files import write_json
from amc_platform.jobs.target import AnyTarget, target_of
from amc_platform.spec.suggestions import hint, nearest

FOLDER, RECORD = "jobs", "job.json"
_HANDLE = "handle.json"
# Kubernetes takes 63 characters of a name, KubeRay 47 of a RayJob's.
_LONGEST_SLUG = 30


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted experiment. Holds no secret: of those, the target names files only."""

    name: str
    experiment: str
    to: str
    """The target's name."""
    target: AnyTarget
    folder: Path
    """With the record, what was sent and, where the job runs beside it, its log."""
    output: Path
    """The job's folder of results, as the job sees it."""
    submitted_at: float
    """Seconds since 1970."""
    source: dict[str, str]
    """Commit, changes and the wheel's SHA-256."""

    @property
    def spec(self) -> Path:
        """The resolved experiment: what it extends and `--set` merged."""
        return self.folder / "spec.yaml"

    @property
    def wheel(self) -> Path:
        """The code."""
        return next(self.folder.glob("*.whl"))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the job that are no secret: its stamps."""
        return {"AMC_JOB": self.name} | {
            key: value for key, value in self.source.items() if key.startswith("AMC_")
        }

    def write(self, folder: Path) -> None:
        """Write the record into `folder`, which is to become `self.folder`."""
        fields = asdict(self) | {"target": self.target.model_dump(mode="json")}
        fields |= {"folder": str(self.folder), "output": str(self.output)}
        write_json(folder / RECORD, fields)

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """The job that `folder` belongs to. Raises InputError for a record that is none."""
        path = folder / RECORD
        try:
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            fields["target"] = target_of(fields["target"])
            # Where it lies now: shared storage is seen under other paths elsewhere.
            fields |= {"folder": folder.resolve(), "output": Path(fields["output"])}
            return cls(**fields)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: is no record of a job ({error}); submit it again") from error

    def remember(self, **handle: str | int) -> None:
        """Keep what the place calls the job."""
        write_json(self.folder / _HANDLE, handle)

    def handle(self) -> dict[str, Any]:
        """What `remember` kept; empty where nothing was started."""
        path = self.folder / _HANDLE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def new_name(experiment: str) -> str:
    """A name that Ray, Slurm and Kubernetes all take: amc-scenes-quickstart-3f9a1c."""
    slug = re.sub(r"[^a-z0-9]+", "-", experiment.lower())[:_LONGEST_SLUG].strip("-")
    return f"amc-{slug}-{uuid.uuid4().hex[:6]}"


def register(job: Job) -> None:
    """Make the job found by its name from any folder. Raises InputError where that cannot be written."""
    place = _register() / job.name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(job.folder)
    except OSError as error:
        raise InputError(
            f"{place.parent}: cannot be written ({error.strerror}); name a folder that can be in XDG_STATE_HOME"
        ) from error


def unregister(job: Job) -> None:
    """Forget the name again."""
    (_register() / job.name).unlink(missing_ok=True)


def find_job(name: str) -> Job:
    """The job `name`, or the one whose folder is given. Raises InputError with the nearest name."""
    for folder in (_register() / name, Path(name)):
        if (folder / RECORD).is_file():
            return Job.read(folder)
    registered = known_jobs()
    if name in registered:
        raise InputError(
            f"{name}: its folder {(_register() / name).readlink()} is gone, and the record with it"
        )
    remedy = hint(name, registered) if nearest(name, registered) else "see `amc status`"
    raise InputError(f"{name}: no such job; {remedy}")


def known_jobs() -> list[str]:
    """Names of all jobs submitted by this user, the last one last."""
    places = _register().glob("amc-*")
    return [place.name for place in sorted(places, key=lambda place: place.lstat().st_mtime)]


def _register() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "amc" / "jobs"
