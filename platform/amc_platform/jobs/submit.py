"""Submitting: the code as a wheel, the spec resolved, a record, and then the place's own way."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from amc_platform.files import atomic_path, write_text
from amc_platform.jobs.checkout import find_checkout, source_of
from amc_platform.jobs.launcher import launcher_of
from amc_platform.jobs.record import FOLDER, Job, new_name, register, unregister
from amc_platform.jobs.target import read_target
from amc_platform.jobs.wheel import build_wheel
from amc_platform.spec import dump_experiment, load_experiment
from amc_platform.tracking.opening import tracking_uri


def submit(
    spec: Path,
    to: str,
    overrides: Sequence[str] = (),
    *,
    allow_dirty: bool = False,
    insecure: bool = False,
    send: bool = True,
) -> tuple[Job, str]:
    """Send the experiment in `spec` to the target `to`; returns the job and a line on what became of it.

    Without `send`, what would be sent is only written. Raises InputError before anything is written: for a wrong spec
    or target, a checkout with changes that are not committed (unless `allow_dirty`), an open cluster (unless
    `insecure`); and where the place refuses the job, of which nothing is left then.
    """
    root = find_checkout()
    target = read_target(to, root)
    launcher = launcher_of(target)
    here = load_experiment(spec, overrides)
    there = load_experiment(spec, [*target.overrides, *overrides, *launcher.forced])
    # A password in it would travel with the spec.
    tracking_uri(there.tracking.uri, there.output)
    source = source_of(root, allow_dirty=allow_dirty)
    if send:
        launcher.check(insecure=insecure)
    name = new_name(there.name)
    folder = (there if launcher.shares_files else here).output / FOLDER / name
    with tempfile.TemporaryDirectory(prefix="amc-wheel-") as built:
        wheel = build_wheel(root, Path(built))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        job = Job(
            name=name,
            experiment=there.name,
            to=to,
            target=target,
            folder=folder,
            output=there.output,
            submitted_at=time.time(),
            source=source.environment | {"wheel": digest},
        )
        with atomic_path(folder) as making:
            making.mkdir()
            shutil.copy(wheel, making / wheel.name)
            write_text(making / "spec.yaml", dump_experiment(there))
            job.write(making)
    try:
        register(job)
        launcher.write(job)
        return job, launcher.send(job) if send else f"written to {folder}, and not sent"
    except BaseException:
        unregister(job)
        shutil.rmtree(folder, ignore_errors=True)
        raise
