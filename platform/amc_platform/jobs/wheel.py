"""The code as a wheel: what travels to a cluster."""

import subprocess
import sys
import zipfile
from pathlib import Path

from amc_models.errors import InputError


def build_wheel(root: Path, to: Path) -> Path:
    """Build the wheel of the checkout at `root` into the folder `to`; equal files make an equal wheel.

    Never the checkout itself travels: its folder `platform` would stand beside the code, where Python's own module of
    that name is looked for. Raises InputError where the build backend is missing or refuses.
    """
    # Hatchling's own command, in this environment: no network, and the pinned version.
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(to)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    wheels = sorted(to.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines()
        raise InputError(f"{root}: no wheel could be built ({lines[-1] if lines else 'no word'}); run `make`")
    return wheels[0]


def unpack(wheel: Path, to: Path) -> None:
    """What installing `wheel` would put beside other packages: it holds Python only, so unpacking is all."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to)
