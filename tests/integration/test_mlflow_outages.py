"""What befalls a tracking server, and what arrives there nevertheless: every point, once."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mlflow_servers import Proxy, Server, wait_until
from tracked import PARENT, assert_equal_to_journal, client_of

from amc_platform.tracking import Clock, Destination, Journal, JournalFollower, TrialRun, following

SCALE = 60
"""How much faster than in use everything is tried again: five minutes of outage pass in five seconds."""
CLOCK = Clock(poll_s=1 / SCALE, longest_delay_s=30 / SCALE, close_s=300)

# Training as tracking sees it: a process that records something now and then, here every 20 ms.
WRITER = textwrap.dedent("""
    import select, sys
    from amc_platform.tracking.journal import Journal
    with Journal(sys.argv[1]) as journal:
        step = 0
        while sys.stdin not in select.select([sys.stdin], [], [], 0.02)[0]:
            journal.metrics(step, {"train/loss_amc": 1 / (step + 3), "train/loss_itc": step / 7})
            step += 1
        journal.status("FINISHED")
        print(step, journal.seconds)
""")


class Training:
    """A process that writes a journal until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> tuple[int, float]:
        """Let it end: how many steps it made, and how many seconds it spent on recording them."""
        steps, seconds = self._process.communicate("stop\n")[0].split()
        return int(steps), float(seconds)

    @property
    def sent(self) -> int:
        """Bytes of the journal that the tracker has taken."""
        with suppress(FileNotFoundError):
            return json.loads((self.folder / "tracked.json").read_text())["offset"]
        return 0

    @property
    def written(self) -> int:
        return (self.folder / "journal.jsonl").stat().st_size


@contextmanager
def trained(
    uri: str, folder: Path, experiment: str, capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[JournalFollower, Training]]:
    """A training that is followed; at the end it is stopped, and every point must be there once."""
    with following(folder.parent, Destination("mlflow", uri, experiment), PARENT, CLOCK) as follower:
        follower.follow(TrialRun(folder, "amc", experiment))
        training = Training(folder)
        try:
            yield follower, training
        finally:
            steps, seconds = training.stop()
    assert follower.close() == []
    run_id = follower.run_id(experiment) or ""
    assert assert_equal_to_journal(uri, run_id, folder) == 2 * steps > 0
    assert client_of(uri).get_run(run_id).info.status == "FINISHED"
    with capsys.disabled():
        print(f"\n{experiment}: training spent {1000 * seconds:.1f} ms on recording {steps} steps", end="")
    assert seconds < 1


def test_killed_while_written_to_and_down_for_five_minutes(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with trained(server.uri, tmp_path / "t0", "amc/killed", capsys) as (follower, training):
        wait_until(lambda: training.sent > 10_000)
        server.kill()
        down = time.monotonic()
        wait_until(lambda: follower.trouble is not None)
        server.begin()
        time.sleep(max(0, down + 300 / SCALE - time.monotonic()))
        written = training.written
        server.wait()
        wait_until(lambda: follower.trouble is None and training.sent > written)


def test_500s(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proxy = Proxy(server.port)
    proxy.failing = 0.4
    # From the first request on: the experiment and the runs themselves are made behind the client's back.
    with trained(proxy.uri, tmp_path / "t0", "amc/500s", capsys) as (_, training):
        wait_until(lambda: proxy.refused > 20 and proxy.swallowed > 20 and training.sent > 10_000)
        proxy.failing = 1.0
        failed = proxy.swallowed
        wait_until(lambda: proxy.swallowed > failed + 3)
        proxy.failing = 0.0
    proxy.close()
    client = client_of(server.uri)
    experiment = client.get_experiment_by_name("amc/500s")
    assert len(client.search_runs([experiment.experiment_id])) == 2  # the experiment's and the trial's


def test_a_full_disk(
    sqlite_server: Server, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ballast = small_disk / "ballast"
    try:
        with trained(sqlite_server.uri, tmp_path / "t0", "amc/full", capsys) as (follower, training):
            wait_until(lambda: training.sent > 2_000)
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(65536))
            picture = tmp_path / "report.png"
            picture.write_bytes(os.urandom(300_000))
            follower.parent_artifact(picture)
            wait_until(lambda: follower.trouble is not None)
            time.sleep(60 / SCALE)
            assert follower.trouble is not None
            ballast.unlink()
            wait_until(lambda: follower.trouble is None)
    finally:
        ballast.unlink(missing_ok=True)
    client = client_of(sqlite_server.uri)
    run = client.get_run(follower.run_id("amc/full"))
    copied = client.download_artifacts(
        run.data.tags["mlflow.parentRunId"], "report.png", str(tmp_path / "copied")
    )
    assert Path(copied).read_bytes() == picture.read_bytes()


def test_wrong_credentials_are_one_line_and_replay_sends_what_was_kept_back(
    postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.environ["MLFLOW_TRACKING_PASSWORD"]
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mistaken")
    with Journal(tmp_path / "t0") as journal:
        journal.metrics(1, {"loss": 0.5})
        journal.status("FAILED", "loss is nan")
    destination = Destination("mlflow", postgres_server.uri, "amc/credentials")
    with following(tmp_path, destination, PARENT, CLOCK) as follower:
        follower.follow(TrialRun(tmp_path / "t0", "amc", "cr3dentials"))
        (line,) = follower.close(timeout_s=3)
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in line
    assert "mistaken" not in line
    assert "\n" not in line

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", right)
    amc = str(Path(sys.executable).with_name("amc"))
    replayed, again = (
        subprocess.run([amc, "track", "replay", tmp_path], capture_output=True, text=True, check=False)
        for _ in range(2)
    )
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert replayed.stdout.startswith(
        "amc/scenes: 1 runs, 1 points, 1 artifacts and 0 models sent to http://127"
    )
    assert (again.returncode, again.stdout) == (0, "nothing is left to send\n")
    client = client_of(postgres_server.uri)
    runs = client.search_runs([client.get_experiment_by_name("amc/credentials").experiment_id])
    found = {run.info.run_name: (run.info.status, run.data.tags.get("error")) for run in runs}
    assert found == {"amc": ("FAILED", "loss is nan"), "amc/scenes": ("FAILED", None)}


def test_commands_that_begin_at_the_same_time_share_their_runs(server: Server, tmp_path: Path) -> None:
    with Journal(tmp_path / "t0") as journal:
        journal.metrics(1, {"loss": 0.5})
        journal.status("FINISHED")
    barrier = threading.Barrier(4)

    def command(_: int) -> str | None:
        barrier.wait()
        with following(
            tmp_path, Destination("mlflow", server.uri, "amc/together"), PARENT, CLOCK
        ) as follower:
            follower.follow(TrialRun(tmp_path / "t0", "amc", "t0"))
        return follower.run_id("t0")

    with ThreadPoolExecutor(4) as pool:
        (run_id,) = set(pool.map(command, range(4)))
    client = client_of(server.uri)
    runs = client.search_runs([client.get_experiment_by_name("amc/together").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["amc", "amc/scenes"]
    assert assert_equal_to_journal(server.uri, run_id or "", tmp_path / "t0") == 1
