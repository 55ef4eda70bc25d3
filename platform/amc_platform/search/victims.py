"""Processes of a command and of its local Ray, as /proc tells them, to be killed."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

Victim = Literal["worker", "driver", "node", "head", "cluster"]
VICTIMS: tuple[Victim, ...] = ("worker", "driver", "node", "head", "cluster")


class _Process(NamedTuple):
    pid: int
    parent: int
    command: str


def find(driver: int, victim: Victim) -> list[int]:
    """Process ids of `victim` among the descendants of the process `driver`; empty while there is none.

    `worker` are all workers that train, `node` is Ray's raylet, `head` is its head server, `cluster` is both.
    """
    if victim == "driver":
        return [driver]
    wanted: Callable[[str], bool] = {
        "worker": lambda command: command.startswith("ray::RayTrainWorker"),
        "node": lambda command: _program(command) == "raylet",
        "head": lambda command: _program(command) == "gcs_server",
        "cluster": lambda command: _program(command) in ("raylet", "gcs_server"),
    }[victim]
    return [process.pid for process in _descendants(driver) if wanted(process.command)]


def kill(pids: list[int]) -> None:
    """`kill -9`; one that is gone already is as dead."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _program(command: str) -> str:
    return command.split(" ", 1)[0].rpartition("/")[2]


def _descendants(ancestor: int) -> list[_Process]:
    children: dict[int, list[_Process]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            children.setdefault(parent, []).append(_Process(int(folder.name), parent, command))
    found: list[_Process] = []
    ancestors = [ancestor]
    while ancestors:
        below = children.get(ancestors.pop(), [])
        found += below
        ancestors += [process.pid for process in below]
    return found
