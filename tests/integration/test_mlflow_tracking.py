"""Tracking against MLflow itself: on SQLite, and on a server that is killed while it is written to."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amc_platform.tracking import Journal, JournalFollower, ParentRun, TrialRun, history, open_tracker

pytestmark = pytest.mark.integration

PARENT = ParentRun(
    "amc/scenes", "name: scenes\n", "5bec5bec5bec5bec", {"git.sha": "abc", "config.hash": "5bec"}
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """An `mlflow server` in a process group of its own, on one port and one database for all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1",
            "--host", "127.0.0.1", "--port", str(self.port),
            "--backend-store-uri", f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | quiet,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        while not self.healthy():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.2)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.kill()


@pytest.fixture(params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/out put/mlflow.db"
    return request.getfixturevalue("server").uri


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def follow(uri: str, experiment: str, trial: TrialRun, timeout_s: float = 300) -> tuple[str, list[str]]:
    tracker = open_tracker("mlflow", uri, experiment, trial.folder.parent)
    with JournalFollower(tracker, PARENT, poll_s=0.05, close_timeout_s=timeout_s) as follower:
        follower.follow(trial)
    return follower.run_id(trial.identity) or "", follower.close()


def assert_equal_to_journal(uri: str, run_id: str, folder: Path) -> int:
    """Compare every number in the store to the journal's; return how many there are."""
    client = client_of(uri)
    written = history(folder)
    assert set(client.get_run(run_id).data.metrics) == set(written)
    for key, points in written.items():
        stored = sorted(client.get_metric_history(run_id, key), key=lambda metric: metric.step)
        assert [(m.step, m.timestamp, repr(m.value)) for m in stored] == [
            (point.step, point.time_ms, repr(point.value)) for point in points
        ]
    return sum(map(len, written.values()))


def test_every_point_arrives_once_over_three_commands(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "out put" / "t0"
    trial = TrialRun(folder, "amc seed 0", "1dent1ty", {"training.lr": "0.1"}, {"seed": "0"})
    with Journal(folder) as journal:
        (folder / "spec.yaml").write_text("seed: 0\n")
        for step in range(1500):
            journal.metrics(step, {"train/loss_amc": 1 / (step + 1), "train/lr": step * 1e-7})
        journal.metrics(1500, {"train/loss_amc": math.nan})
    first, warnings = follow(uri, "amc/thrice", trial)
    assert warnings == []
    client = client_of(uri)
    assert client.get_run(first).info.status == "KILLED"  # nobody trains it any more

    with Journal(folder) as journal:  # resumed from step 1400
        for step in range(1400, 2000):
            journal.metrics(step, {"train/loss_amc": 1 / (step + 1), "train/lr": step * 1e-7})
        journal.params({"training.lr": 0.2, "parameters": 7})
        journal.tags({"world_size": 2})
        (folder / "gallery").mkdir()
        (folder / "gallery" / "0.png").write_bytes(b"png")
        journal.artifact("gallery", "gallery/step_2000")
        journal.status("FINISHED")
    second, warnings = follow(uri, "amc/thrice", trial)
    assert (second, warnings) == (first, [])
    # Steps 0 to 1999 of two metrics; of step 1500's loss the first writing counts.
    assert assert_equal_to_journal(uri, first, folder) == 4000
    losses = {metric.step: metric.value for metric in client.get_metric_history(first, "train/loss_amc")}
    assert [losses[0], losses[1450], losses[1999]] == [1.0, 1 / 1451, 1 / 2000]
    assert math.isnan(losses[1500])

    (folder / "tracked.json").unlink()  # as if every answer had been lost: all is sent again
    assert follow(uri, "amc/thrice", trial) == (first, [])
    assert assert_equal_to_journal(uri, first, folder) == 4000

    run = client.get_run(first)
    ended = json.loads((folder / "journal.jsonl").read_text().splitlines()[-1])["time"]
    assert (run.info.status, run.info.end_time) == ("FINISHED", round(ended * 1000))
    assert run.data.params == {"training.lr": "0.1", "parameters": "7"}
    assert (run.data.tags["amc.identity"], run.data.tags["world_size"]) == ("1dent1ty", "2")
    assert [item.path for item in client.list_artifacts(first)] == ["gallery", "spec.yaml"]
    assert [item.path for item in client.list_artifacts(first, "gallery/step_2000")] == [
        "gallery/step_2000/0.png"
    ]

    runs = client.search_runs([run.info.experiment_id])
    (parent,) = [run for run in runs if run.info.run_id != first]  # one parent for three commands
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (parent.info.status, parent.data.tags["amc.spec_hash"]) == ("FINISHED", PARENT.spec_hash)
    assert parent.data.tags["mlflow.source.git.commit"] == "abc"
    copied = client.download_artifacts(parent.info.run_id, "spec.yaml", str(tmp_path))
    assert Path(copied).read_text() == PARENT.spec_text
    if uri.startswith("sqlite"):
        assert (tmp_path / "out put" / "mlflow-artifacts" / "thrice" / first).is_dir()
    assert not Path("mlruns").exists()


WRITER = textwrap.dedent("""
    import sys, time
    from amc_platform.tracking.journal import Journal
    journal, took, step = Journal(sys.argv[1]), [], 0
    while not sys.stdin in __import__("select").select([sys.stdin], [], [], 0.005)[0]:
        begun = time.monotonic()
        journal.metrics(step, {"train/loss_amc": 1 / (step + 3), "train/loss_itc": step / 7})
        took.append(time.monotonic() - begun)
        step += 1
    journal.status("FINISHED")
    print(*took)
""")


def test_a_server_killed_while_written_to_loses_nothing(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "t0"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    tracker = open_tracker("mlflow", server.uri, "amc/killed", tmp_path)
    with JournalFollower(tracker, PARENT, poll_s=0.02, close_timeout_s=300) as follower:
        follower.follow(TrialRun(folder, "amc", "k1lled"))
        wait_until(lambda: sent(folder) > 20_000)
        server.kill()
        wait_until(lambda: follower.trouble is not None)
        written = (folder / "journal.jsonl").stat().st_size
        server.start()
        wait_until(lambda: follower.trouble is None and sent(folder) > written)
        took = sorted(map(float, writer.communicate("stop\n")[0].split()))
    assert follower.close() == []
    assert assert_equal_to_journal(server.uri, follower.run_id("k1lled") or "", folder) == 2 * len(took)
    assert client_of(server.uri).get_run(follower.run_id("k1lled")).info.status == "FINISHED"
    # Training waits for no server. (On a busy machine the system itself may hold up one call in a hundred.)
    assert took[int(0.99 * len(took))] < 0.05
    assert took[-1] < 1


def sent(folder: Path) -> int:
    try:
        return json.loads((folder / "tracked.json").read_text())["offset"]
    except FileNotFoundError:
        return 0


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_server_that_was_never_there_is_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "t0"
    with Journal(folder) as journal:
        journal.metrics(1, {"loss": 1.0})
        journal.status("FINISHED")
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    with JournalFollower(
        open_tracker("mlflow", uri, "amc/absent", tmp_path), PARENT, poll_s=0.05
    ) as follower:
        follower.follow(TrialRun(folder, "amc", "absent"))
        begun = time.monotonic()
        (line,) = follower.close(timeout_s=2)
        assert time.monotonic() - begun < 5
    assert line.startswith("not all of amc, spec.yaml could be sent to http://127.0.0.1:")
    assert "secret" not in line
    run_id, warnings = follow(
        f"sqlite:///{tmp_path}/mlflow.db", "amc/absent", TrialRun(folder, "amc", "absent")
    )
    assert warnings == []
    assert assert_equal_to_journal(f"sqlite:///{tmp_path}/mlflow.db", run_id, folder) == 1


def test_a_broken_store_is_a_warning_and_no_exception(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with Journal(tmp_path / "t0") as journal:
        journal.metrics(1, {"loss": 1.0})
    _, (line,) = follow(
        f"sqlite:///{tmp_path}/mlflow.db", "amc/broken", TrialRun(tmp_path / "t0", "amc", "b"), 1
    )
    assert "not all of amc" in line
    assert "\n" not in line


def test_mlflow_says_nothing_on_the_terminal(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from amc_platform.tracking import Journal, JournalFollower, ParentRun, TrialRun, open_tracker
        output = Path(sys.argv[1])
        tracker = open_tracker("mlflow", None, "amc/q", output)
        with JournalFollower(tracker, ParentRun("q", "", "q")) as follower:
            follower.follow(TrialRun(output / "t", "t", "t"))
            with Journal(output / "t") as journal:
                journal.metrics(1, {"loss": 1.0})
                journal.status("FINISHED")
        assert follower.close() == []
        assert follower.run_id("t")
    """)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script, tmp_path / "out"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    shutil.rmtree(tmp_path / "out")
