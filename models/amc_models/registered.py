"""Checkpoints named in a registry, `models:/<name>@<alias>`: who runs one says how such a name becomes a folder."""

from importlib.metadata import entry_points
from pathlib import Path

from amc_models.errors import InputError

GROUP = "amc_models.checkpoints"
"""Entry points, named by scheme: functions from the whole name to the folder of a checkpoint."""

SCHEME = "models"


def is_registered(path: str | Path) -> bool:
    """Whether `path` is the name of a registered checkpoint."""
    return str(path).startswith(f"{SCHEME}:/")


def local_folder(path: str | Path) -> Path:
    """`path` as it is, but for a registered checkpoint the folder that holds it.

    Raises InputError where no installed package opens such names; the platform's
    `amc_platform.tracking.registry.resolve` does.
    """
    if not is_registered(path):
        return Path(path)
    for opener in entry_points(group=GROUP, name=SCHEME):
        return Path(opener.load()(str(path)))
    raise InputError(
        f"{path}: nothing installed opens registered checkpoints; install amc-platform, or give a folder"
    )
