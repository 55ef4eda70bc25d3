"""The checkout that code is sent from: where it is, and whether it is what its commit says."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from amc_models.errors import InputError

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Source:
    """A commit, and what differs from it."""

    sha: str
    diff: str
    """First 16 hex digits of the SHA-256 of all changes and untracked files; empty where there are none."""

    @property
    def environment(self) -> dict[str, str]:
        """For the job, whose runs carry these as tags (see `tracking/stamps.py`): a wheel knows no git."""
        clean = {"AMC_GIT_SHA": self.sha, "AMC_GIT_DIRTY": "true" if self.diff else "false"}
        return clean | ({"AMC_GIT_DIFF": self.diff} if self.diff else {})


def find_checkout() -> Path:
    """The folder with the `pyproject.toml` of the running code. Raises InputError for an installed copy."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").is_file():
        raise InputError(
            "amc submit: sends the code of a checkout, and this is an installed copy; use the checkout's amc"
        )
    return root


def source_of(root: Path, *, allow_dirty: bool) -> Source:
    """Commit and changes of the checkout at `root`.

    Raises InputError where it has no commit, or changes that are not committed without `allow_dirty`.
    """
    sha = _git(root, "rev-parse", "--verify", "HEAD")
    if sha is None:
        raise InputError(f"{root}: is no git repository with a commit; commit the code that is to be sent")
    changed = (_git(root, "status", "--porcelain", "--untracked-files=all") or b"").decode().splitlines()
    if changed and not allow_dirty:
        names = ", ".join(line[3:] for line in changed[:_SHOWN])
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise InputError(
            f"{root}: differs from its commit ({names}{more}); commit it, or stamp the runs by --allow-dirty"
        )
    return Source(sha.decode().strip(), _fingerprint(root) if changed else "")


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256(_git(root, "diff", "HEAD", "--binary") or b"")
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z") or b""
    for name in sorted(filter(None, untracked.split(b"\0"))):
        path = root / name.decode(errors="surrogateescape")
        content = path.read_bytes() if path.is_file() else b""
        digest.update(name + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
