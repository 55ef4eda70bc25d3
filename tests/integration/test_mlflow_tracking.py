"""Tracking against MLflow itself: on SQLite, and on servers with SQLite and with PostgreSQL."""

import json
import math
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from mlflow_servers import free_port
from tracked import PARENT, assert_equal_to_journal, client_of, follow

from amc_platform.tracking import Clock, DataInput, Destination, Journal, TrialRun, following


@pytest.fixture(params=["file", "sqlite", "postgres"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path}/out put/mlflow.db"
    return request.getfixturevalue(f"{request.param}_server").uri


def test_every_point_arrives_once_over_three_commands(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "out put" / "t0"
    data = DataInput("scenes", "da7aha54", "/data/scenes.parquet", "training")
    trial = TrialRun(folder, "amc seed 0", "1dent1ty", {"training.lr": "0.1"}, {"seed": "0"}, (data,))
    with Journal(folder) as journal:
        (folder / "spec.yaml").write_text("seed: 0\n")
        for step in range(1500):
            journal.metrics(step, {"train/loss_amc": 1 / (step + 1), "train/lr": step * 1e-7})
        journal.metrics(1500, {"train/loss_amc": math.nan})
    first, warnings = follow(uri, "amc/thrice", trial)
    assert warnings == []
    client = client_of(uri)
    left = client.get_run(first)  # nobody trains it any more
    assert (left.info.status, left.data.tags["error"]) == (
        "KILLED",
        "interrupted: the command that trained it is gone",
    )

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
    (used,) = run.inputs.dataset_inputs  # once, though told twice
    assert (used.dataset.name, used.dataset.digest, used.tags[0].value) == ("scenes", "da7aha54", "training")
    ended = json.loads((folder / "journal.jsonl").read_text().splitlines()[-1])["time"]
    assert (run.info.status, run.info.end_time) == ("FINISHED", round(ended * 1000))
    assert run.data.params == {"training.lr": "0.1", "parameters": "7"}
    assert (run.data.tags["amc.identity"], run.data.tags["world_size"]) == ("1dent1ty", "2")
    assert "error" not in run.data.tags  # it went on
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


def test_a_server_that_was_never_there_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "t0"
    with Journal(folder) as journal:
        journal.metrics(1, {"loss": 1.0})
        journal.status("FINISHED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    nowhere = Destination("mlflow", None, "amc/absent")
    with following(tmp_path, nowhere, PARENT, Clock(poll_s=0.05)) as follower:
        follower.follow(TrialRun(folder, "amc", "absent"))
        begun = time.monotonic()
        (line,) = follower.close(timeout_s=2)
        assert time.monotonic() - begun < 5
    assert line.startswith("not all of amc, spec.yaml could be sent to http://127.0.0.1:")
    assert "secret" not in line
    assert "secret" not in "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
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
        from amc_platform.tracking import Destination, Journal, ParentRun, TrialRun, following
        output = Path(sys.argv[1])
        with following(output, Destination("mlflow", None, "amc/q"), ParentRun("q", "", "q")) as follower:
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
