"""Which rank hangs, and whether Ray is still there."""

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from amc_platform.training import vitals
from amc_platform.training.hang import Sign, hanging
from amc_platform.training.lane import Lane
from amc_platform.training.vitals import Vitals

SIGNS = [Sign(rank, f"node-{rank}", 100 + rank, steps=7, count=4) for rank in range(3)]


def later(*steps: int) -> list[Sign]:
    return [replace(sign, count=5, steps=at) for sign, at in zip(SIGNS, steps, strict=True)]


def test_a_rank_without_signs_of_life_hangs() -> None:
    now = later(8, 7, 8)
    assert [sign.rank for sign in hanging(SIGNS, [now[0], now[1], replace(now[2], count=4)])] == [2]


def test_else_the_one_that_is_behind() -> None:
    (hung,) = hanging(SIGNS, later(8, 7, 8))
    assert str(hung) == "rank 1 (process 101 on node-1)"


def test_else_none_can_be_told_from_the_others() -> None:
    assert [sign.rank for sign in hanging(SIGNS, later(8, 8, 8))] == [0, 1, 2]


def test_what_listens_no_longer_is_lost_after_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "_EVERY_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as head, socket.create_server(("127.0.0.1", 0)) as raylet:
        look = Vitals({"head": head.getsockname(), "raylet": raylet.getsockname()})
        assert look.lost() is None
        raylet.close()
        assert look.lost() is None
        assert look.lost() == "raylet"


def test_looks_are_a_second_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        look = Vitals({"head": gone.getsockname()})
    assert [look.lost(), look.lost(), look.lost()] == [None, None, None]


FILL = """
import errno, sys
from pathlib import Path
from amc_platform.training.lane import Lane
folder = Path(sys.argv[1])
lane = Lane(folder / "lane-0")
lane.open()
assert lane.fault == ""
with (folder / "filler").open("wb", buffering=0) as file:
    try:
        while file.write(b"x" * 65536):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC
lane.fail("no space left")
print(lane.fault)
"""


def test_that_the_disk_is_full_can_be_told_on_the_full_disk(tmp_path: Path) -> None:
    shell = f'mount -t tmpfs -o size=256k tmpfs {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, FILL], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"only root may mount a small disk here: {done.stderr.strip()}")
    assert done.stdout == "no space left\n", done.stderr


def test_a_fault_is_read_as_it_was_left(tmp_path: Path) -> None:
    lane = Lane(tmp_path / "lane-0")
    assert lane.fault == ""
    lane.open()
    lane.fail("image 7: cannot be decoded")
    assert lane.fault == "image 7: cannot be decoded"
