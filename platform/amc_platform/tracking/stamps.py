"""What a run was made with: code, versions, machine."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_DISTRIBUTIONS = ("amc-platform", "torch", "torchvision", "ray", "timm", "transformers", "mlflow", "pyarrow")
_UNKNOWN = "unknown"
# What `amc submit` knew of the checkout: a job's code comes as a wheel, without git.
_SENT = {
    "job": "AMC_JOB",
    "git.sha": "AMC_GIT_SHA",
    "git.dirty": "AMC_GIT_DIRTY",
    "git.diff": "AMC_GIT_DIFF",
}


def stamps(folder: str | Path | None = None) -> dict[str, str]:
    """Return tags that say with what a run was made; never fails, imports none of the packages it names.

    `folder` is where the git repository is looked for (None: that of the platform's own code).
    `git.sha` and `git.dirty` are "unknown" without git, a repository or a commit; a file that git neither
    tracks nor ignores counts as dirty. In a job of `amc submit` they are those of the checkout it was sent from, with
    `job`, its name, and for a checkout with changes `git.diff`, their hash.
    """
    where = Path(folder) if folder else Path(__file__).parent
    sha = _git(where, "rev-parse", "--verify", "HEAD")
    changes = _git(where, "status", "--porcelain")
    return {
        "git.sha": sha or _UNKNOWN,
        "git.dirty": _UNKNOWN if changes is None or sha is None else str(bool(changes)).lower(),
        "host": platform.node() or _UNKNOWN,
        "platform": platform.platform(),
        "versions.python": platform.python_version(),
        **{f"versions.{name}": _version(name) for name in _DISTRIBUTIONS},
        **({} if folder else {tag: os.environ[name] for tag, name in _SENT.items() if name in os.environ}),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # No lock is taken: a stamp must not disturb a commit that is being made at the same time.
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
