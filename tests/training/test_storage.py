"""Storage that is full or gone while a worker trains: it waits, says so, and loses nothing."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.files import UnwritableError, sweep_temporaries, write_text
from amc_platform.search.driver import ready_plan
from amc_platform.storage import Storage
from amc_platform.tracking.journal import Journal
from amc_platform.tracking.reader import history


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("storage")
    spec = write_experiment(folder, evaluation={"splits": ["test"], "gallery": 2}, tracking={"kind": "none"})
    ready_plan(spec, [], fresh=False, progress=None)
    disk = folder / "disk"
    disk.mkdir()
    script = Path(__file__).with_name("storage_away.py")
    # In a mount space of the child alone: nothing is left behind.
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, script, spec, disk],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith("unshare:") or "mount: " in done.stderr:
        pytest.skip(f"only root may mount a small disk here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("full", "no space left on the device; free some or write elsewhere"),
        ("gone", "is gone; see whether its storage is mounted"),
    ],
)
def test_a_disk_that_comes_back_costs_nothing_but_time(found: dict[str, Any], how: str, said: str) -> None:
    told = found[how].pop("told")
    assert found[how] == {"done": True, "weights": True, "losses": True, "left": []}
    assert all(line.startswith("test/small (seed 0): /") for line in told)
    refused = [line for line in told if line.endswith("trying again for 30 s (cluster.storage_timeout_s)")]
    back = [line for line in told if "written again after" in line]
    assert refused
    assert len(refused) == len(back) == len(told) / 2
    assert said in refused[0]


def test_nothing_is_written_below_an_empty_mount_point(found: dict[str, Any]) -> None:
    assert found["behind"] == []


def test_a_disk_that_stays_full_is_one_line_and_the_states_before_are_whole(found: dict[str, Any]) -> None:
    long = found["long"]
    assert long["raised"].endswith(
        "step-00000006.pt: no space left on the device; free some or write elsewhere (tried for 1 s)"
    )
    assert long["fault"] == long["raised"]
    assert len(long["told"]) == 1
    names = [f"step-0000000{step}.{kind}" for step in (2, 4) for kind in ("json", "pt")]
    assert (long["states"], long["intact"]) == (names, [2, 4])
    # The same command, with room.
    assert (long["done"], long["weights"], long["losses"], long["left"]) == (True, True, True, [])


def refusing(times: int, number: int = errno.EIO) -> Any:
    """An action that storage refuses some times, and then takes."""
    tries: list[int] = []

    def action() -> int:
        tries.append(0)
        if len(tries) <= times:
            raise OSError(number, os.strerror(number))
        return len(tries)

    return action


def test_a_write_is_tried_until_it_succeeds(tmp_path: Path) -> None:
    told: list[str] = []
    assert Storage(tmp_path, 10, told.append).write(refusing(2)) == 3
    assert told[0] == (
        f"{tmp_path}: cannot be written (Input/output error); trying again for 10 s (cluster.storage_timeout_s)"
    )
    assert told[1].startswith(f"{tmp_path}: written again after 0.")
    assert len(told) == 2


def test_after_its_limit_nothing_waits_any_more(tmp_path: Path) -> None:
    told: list[str] = []
    storage = Storage(tmp_path, 0.3, told.append)
    with pytest.raises(UnwritableError, match=r"Stale file handle\) \(tried for 0.3 s\)"):
        storage.write(refusing(9, errno.ESTALE))
    with pytest.raises(UnwritableError, match=r"Input/output error\)$"):
        storage.write(refusing(1))
    assert len(told) == 1


def test_who_waits_can_be_told_to_leave(tmp_path: Path) -> None:
    storage = Storage(tmp_path, 600, print)
    threading.Timer(0.2, storage.leave).start()
    with pytest.raises(UnwritableError):
        storage.write(refusing(10_000))


def test_a_folder_without_its_witness_is_another_one(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match="is gone; see whether its storage is mounted"):
        Storage(tmp_path, 0, print, witness="training.lock").write(lambda: None)


@pytest.mark.parametrize("error", [InputError("a typo"), ValueError("a bug"), FileNotFoundError(2, "absent")])
def test_other_errors_are_raised_at_once(tmp_path: Path, error: Exception) -> None:
    def action() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        Storage(tmp_path, 600, pytest.fail).write(action)
    assert raised.value is error


def test_a_journal_goes_on_with_the_rest_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, list[int]()

    def half(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        return real(file, data[:20] if len(calls) == 1 else data)

    with Journal(tmp_path, Storage(tmp_path, 10, print)) as journal:
        monkeypatch.setattr(os, "write", half)
        journal.metrics(3, {"loss": 0.5})
        monkeypatch.undo()
    assert len(calls) == 3
    assert [(p.step, p.value) for p in history(tmp_path)["loss"]] == [(3, 0.5)]


def test_what_writers_left_that_died_is_swept_by_name(tmp_path: Path) -> None:
    for name in (".model.0123abcd.tmp", ".other.0123abcd.tmp", ".model.notes.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".hits.parquet.0123abcd.tmp").write_text("half")
    write_text(tmp_path / "model.txt", "whole")
    assert sweep_temporaries(tmp_path, "model") == [".model.0123abcd.tmp"]
    assert sweep_temporaries(tmp_path / "deep", deep=True) == [".hits.parquet.0123abcd.tmp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".model.notes.tmp",
        ".other.0123abcd.tmp",
        "deep",
        "model.txt",
    ]
