"""Searches as a user gives them: interrupted, given again, and given twice at once."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from following import AMC, wait_for
from small_experiment import write_experiment

pytestmark = [pytest.mark.integration, pytest.mark.soak]

TRAINING = {
    "steps": 200,
    "lr": 0.01,
    "lr_min": 0.0,
    "warmup_steps": 0,
    "log_every": 5,
    "checkpoint_every": 50,
}


def hears_ctrl_c() -> None:
    """What a shell starts in the background is deaf to Ctrl-C, tests and all that they start included."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def begun(spec: Path, name: str) -> subprocess.Popen[bytes]:
    with (spec.parent / name).open("w") as log:
        return subprocess.Popen(
            [AMC, "run", str(spec)], cwd=spec.parent, stdout=log, stderr=log, preexec_fn=hears_ctrl_c
        )


def said(spec: Path, name: str) -> str:
    return (spec.parent / name).read_text()


def records(spec: Path) -> list[dict[str, Any]]:
    paths = sorted((spec.parent / "runs" / "trials").glob("*/ledger.json"))
    return [json.loads(path.read_text()) for path in paths]


def starts(spec: Path) -> list[list[int]]:
    """Steps at which each trial was started."""
    paths = sorted((spec.parent / "runs" / "trials").glob("*/status.json"))
    return [[step for step, _ in json.loads(path.read_text())["world_sizes"]] for path in paths]


def test_an_interrupted_search_goes_on_and_two_commands_conduct_it_once(tmp_path: Path) -> None:
    search = {
        "optuna": {
            "n": 4,
            "metric": "val/scenes/pointing",
            "space": {"objective.amc.delta_1": {"uniform": [0.0, 0.5]}},
        },
        "max_concurrent": 1,
    }
    spec = write_experiment(
        tmp_path,
        "test/tpe",
        training=TRAINING,
        evaluation={"every": 50, "gallery": 0},
        tracking={"kind": "none"},
        search=search,
    )
    first = begun(spec, "first.log")
    wait_for(
        lambda: sorted(record["state"] for record in records(spec)) == ["done", "running"],
        first,
        tmp_path / "first.log",
        240,
    )
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130, said(spec, "first.log")
    assert said(spec, "first.log").splitlines()[-1] == "amc: interrupted"
    (finished,) = [record for record in records(spec) if record["state"] == "done"]
    proposals = tmp_path / "runs" / "test-tpe" / "proposals.jsonl"
    proposed = proposals.read_text().splitlines()
    model = tmp_path / "runs" / "trials" / finished["identity"] / "model" / "model.safetensors"
    trained_at = model.stat().st_mtime_ns

    both = [begun(spec, name) for name in ("second.log", "third.log")]
    assert [command.wait(240) for command in both] == [0, 0], said(spec, "second.log") + said(
        spec, "third.log"
    )
    waited = "another command conducts this search"
    assert [waited in said(spec, name) for name in ("second.log", "third.log")].count(True) == 1
    # Four rows, the first of them the same again; the finished one was not touched, the interrupted one went on.
    assert proposals.read_text().splitlines()[: len(proposed)] == proposed
    assert len(proposals.read_text().splitlines()) == 1 + 4
    assert [record["state"] for record in records(spec)] == ["done"] * 4
    assert model.stat().st_mtime_ns == trained_at
    assert finished["metrics"] in [record["metrics"] for record in records(spec)]
    assert sorted(len(steps) for steps in starts(spec)) in ([1, 1, 1, 1], [1, 1, 1, 2])
    done = subprocess.run(
        [AMC, "report", str(spec), "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 4


def test_two_commands_at_once_train_each_trial_once(tmp_path: Path) -> None:
    rows = [{"name": f"row {n}", "set": {"objective.amc.delta_1": n / 10}} for n in range(4)]
    spec = write_experiment(
        tmp_path,
        "test/twice",
        training=TRAINING,
        evaluation={"gallery": 0},
        tracking={"kind": "none"},
        search={"list": rows, "max_concurrent": 1},
    )
    both = [begun(spec, name) for name in ("first.log", "second.log")]
    logs = [said(spec, name) for name in ("first.log", "second.log")]
    assert [command.wait(280) for command in both] == [0, 0], logs
    assert starts(spec) == [[0]] * 4
    assert [record["state"] for record in records(spec)] == ["done"] * 4
    owners = {record["owner"] for record in records(spec)}
    assert len(owners) <= 2
    for name in ("first.log", "second.log"):
        assert "page:" in said(spec, name)
