"""`amc run` as a user runs it: Ray Train with two workers, a killed driver, MLflow in SQLite, the report."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from following import AMC, wait_for
from mlflow import MlflowClient
from mlflow.entities import Run
from small_experiment import write_experiment

from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.table import read_rows, write_table

# MLflow's own use of SQLAlchemy, in the client with which the tests look.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

TRIALS = [
    {"name": "base", "set": {"training.steps": 0, "training.warmup_steps": 0}},
    {"name": "control", "set": {"objective.amc.variant": "none"}},
    {"name": "amc", "set": {}},
]


def amc(folder: Path, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [AMC, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], int]:
    """A folder in which a run was killed with its driver after a checkpoint, then given again."""
    folder = tmp_path_factory.mktemp("run")
    # Long enough that the driver can be killed between two checkpoints of the last trial.
    training = {
        "steps": 60,
        "lr": 0.01,
        "lr_min": 0.001,
        "warmup_steps": 2,
        "log_every": 5,
        "checkpoint_every": 5,
        "clip_norm": 1.0,
    }
    spec = write_experiment(
        folder, "test/run", training=training, cluster={"workers": 2}, search={"list": TRIALS}
    )
    with (folder / "first.log").open("w") as log:
        driver = subprocess.Popen([AMC, "run", str(spec)], cwd=folder, stdout=log, stderr=log)
        try:
            trials = folder / "runs" / "trials"
            wait_for(lambda: list(trials.glob("*/checkpoints/step-*.pt")), driver, folder / "first.log", 400)
            partial = len(list(trials.glob("*/checkpoints/step-*.pt")))
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    # Ray's processes notice that their driver is gone.
    time.sleep(5)
    return folder, amc(folder, "run", str(spec)), partial


def runs_of(folder: Path) -> tuple[MlflowClient, Run, dict[str, Run]]:
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "amc/test/run"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["trial"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert len(runs) == 1 + len(TRIALS) == 1 + len(children)
    return client, parent, children


def test_the_same_command_goes_on_after_the_driver_was_killed(
    finished: tuple[Path, subprocess.CompletedProcess[str], int],
) -> None:
    folder, done, partial = finished
    assert done.returncode == 0, done.stderr
    assert partial > 0
    assert "tracking:" not in done.stderr
    statuses = [json.loads(p.read_text()) for p in (folder / "runs" / "trials").glob("*/status.json")]
    assert [status["state"] for status in statuses] == ["finished"] * 3
    starts = [[step for step, _ in status["world_sizes"]] for status in statuses]
    assert any(len(steps) == 2 and steps[1] > 0 for steps in starts), starts
    assert all(size == 2 for status in statuses for _, size in status["world_sizes"])


def test_a_finished_run_is_recognised(finished: tuple[Path, subprocess.CompletedProcess[str], int]) -> None:
    folder, first, _ = finished
    models = sorted((folder / "runs" / "trials").glob("*/model/model.safetensors"))
    before = [path.stat().st_mtime_ns for path in models]
    again = amc(folder, "run", str(folder / "spec.yaml"), "--json")
    assert again.returncode == 0, again.stderr
    assert "3 done already, 0 to run" in again.stderr
    assert [path.stat().st_mtime_ns for path in models] == before
    rows = json.loads(again.stdout)["rows"]
    assert [row["name"] for row in rows] == ["base", "control", "amc"]
    assert (folder / "runs" / "test-run" / "report.html").is_file()
    assert "page:" in first.stdout


def test_mlflow_holds_every_point_once(
    finished: tuple[Path, subprocess.CompletedProcess[str], int],
) -> None:
    folder, _, _ = finished
    client, parent, children = runs_of(folder)
    assert parent.info.status == "FINISHED"
    for name in ("control", "amc"):
        run = children[name]
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "train/loss_total")
        assert sorted(metric.step for metric in history) == list(range(5, 61, 5))
        assert run.data.params["training.steps"] == "60"
        for tag in (
            "git.sha",
            "config.hash",
            "data.hash",
            "protocol.hash",
            "seed",
            "world_size",
            "versions.torch",
        ):
            assert run.data.tags[tag], tag
        assert "test/scenes/pointing/attribute" in run.data.metrics
        assert "val/scenes/pointing" in run.data.metrics
        top = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert "evaluations" in top
        gallery = client.list_artifacts(run.info.run_id, "evaluations/test/gallery")
        assert sum(artifact.path.endswith(".png") for artifact in gallery) == 2
    assert "train/loss_amc" in children["amc"].data.metrics
    assert "train/loss_amc" not in children["control"].data.metrics
    assert {"spec.yaml", "report.html"} <= {a.path for a in client.list_artifacts(parent.info.run_id)}


def test_wrong_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    spec = write_experiment(tmp_path)
    for change, wanted in {
        "objective.amc.dleta_1=0.1": "did you mean delta_1?",
        "objective.amc.delta_1=-1": "delta_1",
        "data.table=nowhere.csv": "ends in .parquet",
        "evaluation.protocol=scene": "did you mean scenes?",
        "cluster.gpus_per_worker=1": "GPU",
    }.items():
        done = amc(tmp_path, "run", str(spec), "--set", change)
        assert done.returncode == 2, (change, done.stderr)
        assert wanted in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.glob("runs/**/model.safetensors"))


@pytest.mark.soak
def test_an_unreadable_image_ends_all_workers_with_one_line(tmp_path: Path) -> None:
    table = tmp_path / "scenes.parquet"
    prepare_scenes(table, train=24, val=6, test=8, unseen=0, workers=1)
    broken = [
        replace(row, image=b"no picture") if row.image_id == "train-000007" else row
        for row in read_rows(table)
    ]
    write_table(table, broken, source={"source": "scenes"}, baselines=None)
    spec = write_experiment(tmp_path, cluster={"workers": 2}, tracking={"kind": "none"})
    done = amc(tmp_path, "run", str(spec))
    assert done.returncode == 2, done.stderr
    assert "image train-000007: cannot be decoded" in done.stderr.strip().splitlines()[-1]


def test_evaluate_counts_what_the_run_counted(
    finished: tuple[Path, subprocess.CompletedProcess[str], int],
) -> None:
    folder, _, _ = finished
    _, _, children = runs_of(folder)
    model = folder / "runs" / "trials" / children["amc"].data.tags["amc.identity"] / "model"
    done = amc(folder, "evaluate", str(model), "--on", str(folder / "scenes.parquet"), "--json")
    assert done.returncode == 0, done.stderr
    pointing = json.loads(done.stdout)["pointing"]
    for group in ("attribute", "hard"):
        recorded = children["amc"].data.metrics[f"test/scenes/pointing/{group}"]
        assert pointing[group]["percent"] == pytest.approx(recorded)
    picture = folder / "scene.png"
    picture.write_bytes(read_rows(folder / "scenes.parquet", splits={"test"})[0].image)
    drawn = amc(folder, "explain", str(model), str(picture), "a red star")
    assert drawn.returncode == 0, drawn.stderr
    assert (folder / "explained" / "01-a-red-star.png").read_bytes().startswith(b"\x89PNG")
