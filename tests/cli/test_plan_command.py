"""`amc plan` as a user gives it: what it prints, and when it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_experiment import write_experiment

SEARCH = {
    "seeds": [0, 1],
    "list": [{"name": "base", "set": {"training.steps": 0, "training.warmup_steps": 0}}, {"name": "amc"}],
}
BUDGET = {"pairs_per_second": 12.0, "price_per_device_hour": 5.0}


def plan(spec: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "amc"), "plan", str(spec), *arguments]
    return subprocess.run(command, cwd=spec.parent, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("plan"), search=SEARCH, budget=BUDGET)


def test_it_tells_every_trial_and_the_whole(spec: Path) -> None:
    done = plan(spec, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(trial["trial"], trial["seed"], trial["steps_left"]) for trial in told["trials"]] == [
        ("base", 0, 0),
        ("base", 1, 0),
        ("amc", 0, 8),
        ("amc", 1, 8),
    ]
    # 8 steps of 12 pairs at 12 a second, twice.
    assert told["device_hours"] == pytest.approx(16 / 3600)
    assert told["cost"] == pytest.approx(5 * 16 / 3600)
    assert (told["steps"], told["to_run"], told["device"]) == (16, 4, "core")
    assert all(trial["memory_gib"] > 0 and trial["state"] == "new" for trial in told["trials"])


def test_without_data_identities_are_open_and_nothing_is_written(spec: Path) -> None:
    done = plan(spec)
    assert done.returncode == 0, done.stderr
    assert "4 trials to run; 16 steps; 0.00444 core-hours of training; cost 0.02" in done.stdout
    assert "identities follow from its content" in done.stderr
    assert json.loads(plan(spec, "--json").stdout)["trials"][0]["identity"] is None
    assert [path.name for path in spec.parent.iterdir()] == ["spec.yaml"]


def test_above_the_budget_it_leaves_with_2(spec: Path) -> None:
    done = plan(spec, "--set", "budget.limit=0.01")
    assert done.returncode == 2
    assert done.stdout.startswith("test/small")
    assert done.stderr.splitlines()[-1].startswith("amc: budget.limit: it would cost 0.02")


def test_a_probe_has_no_say_where_the_speed_is_stated(tmp_path: Path) -> None:
    spec = write_experiment(tmp_path, budget=BUDGET)
    done = plan(spec, "--probe")
    assert done.returncode == 2
    assert "budget.pairs_per_second: states the speed already" in done.stderr
