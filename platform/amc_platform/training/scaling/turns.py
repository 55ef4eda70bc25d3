"""Groups of workers that all live at once and take turns, so that they are timed under the same load.

A group is a `torchrun`, a Ray Train worker group, or one process alone. All run `serve`: turn number n of a group is
the file `NAME-n.json`, written by the driver; each rank answers in a file. While others have their turn, a rank sleeps.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amc_platform.files import write_json, write_text
from amc_platform.training.scaling.loop import Loop, Sizes, Turn

_POLL_S = 0.02
_LEAVE_S = 20.0


def serve(folder: Path, name: str) -> None:
    """Take the turns of group `name` until the folder says that all is over. Every rank of the group runs this."""
    import torch

    from amc_platform.training.distributed import WorkerGroup

    # The ratio is of workers, not of threads.
    torch.set_num_threads(1)
    group = WorkerGroup.current()
    sizes = Sizes(**json.loads((folder / "sizes.json").read_text(encoding="utf-8")))
    loop, number = Loop(group, sizes), 0
    while (text := _next(folder, folder / f"{name}-{number}.json")) is not None:
        found = loop.take(Turn(**json.loads(text)))
        write_json(folder / f"{name}-{number}-rank-{group.rank}.json", found)
        number += 1


def _next(folder: Path, path: Path) -> str | None:
    while not path.is_file():
        if (folder / "closed").exists() or not folder.is_dir():
            return None
        time.sleep(_POLL_S)
    return path.read_text(encoding="utf-8")


@dataclass
class Group:
    """The driver's end of a group."""

    folder: Path
    name: str
    size: int
    alive: Callable[[], str]
    """Empty while the group lives; else what it said last."""
    given: int = 0

    def begin(self, turn: Turn) -> None:
        """Let it take `turn`."""
        write_json(self.folder / f"{self.name}-{self.given}.json", asdict(turn))
        self.given += 1

    def end(self) -> list[dict[str, Any]]:
        """Wait for what its ranks found. Raises RuntimeError where the group ended instead."""
        paths = [self.folder / f"{self.name}-{self.given - 1}-rank-{rank}.json" for rank in range(self.size)]
        while not all(path.is_file() for path in paths):
            if said := self.alive():
                raise RuntimeError(f"the workers of `{self.name}` ended: {said}")
            time.sleep(_POLL_S)
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def take(self, turn: Turn) -> list[dict[str, Any]]:
        """Both."""
        self.begin(turn)
        return self.end()


@contextlib.contextmanager
def processes(folder: Path, name: str, size: int) -> Iterator[Group]:
    """`size` workers under `torchrun`; of one, a process alone."""
    module = ["--module", __name__, str(folder), name]
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={size}", *module]
    command = ["-m", *launcher] if size > 1 else ["-m", *module[1:]]
    with (folder / f"{name}.log").open("wb") as log:
        # A session of its own: torchrun's workers end with it.
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def ended() -> str:
        if process.poll() is None:
            return ""
        lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {process.returncode}"

    try:
        yield Group(folder, name, size, ended)
    finally:
        write_text(folder / "closed", "")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def ray_workers(folder: Path, size: int) -> Iterator[Group]:
    """`size` workers of Ray Train, in a Ray that is there already."""
    from amc_platform.spec import ClusterSpec
    from amc_platform.training.worker import fit

    errors: list[str] = []

    def run() -> None:
        try:
            fit(_serve_in_ray, {"folder": str(folder)}, ClusterSpec(), size, max_failures=0)
        except Exception as error:
            errors.append(str(error))

    # A daemon: a group that hangs must not keep the command from leaving.
    thread = threading.Thread(target=run, name="ray-workers", daemon=True)
    thread.start()
    try:
        yield Group(folder, "ray", size, lambda: next(iter(errors), ""))
    finally:
        write_text(folder / "closed", "")
        thread.join(_LEAVE_S)


def _serve_in_ray(config: dict[str, Any]) -> None:
    serve(Path(config["folder"]), "ray")


def main() -> None:
    """A worker that was started by `processes`: FOLDER NAME."""
    from torch import distributed

    folder, name = sys.argv[1:]
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    else:
        # A group of its own, so that its gradients can be watched.
        here = f"file://{folder}/{name}-meeting"
        distributed.init_process_group("gloo", init_method=here, rank=0, world_size=1)
    serve(Path(folder), name)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
