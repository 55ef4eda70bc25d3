"""The real command, in a process of its own, as a user gives it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Amc = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ["--train", "4", "--val", "2", "--test", "3", "--unseen", "2", "--workers", "1"]


@pytest.fixture
def amc(tmp_path: Path) -> Amc:
    """Run `amc` in an empty folder, not on a terminal."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "amc"), *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def run_main(body: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with a verb `break` whose body is `body`."""
    verb = f"@app.command('break')\ndef broken():\n    {body}"
    code = f"from amc_platform.cli.main import app, main\n{verb}\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, "break"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_the_verbs(amc: Amc) -> None:
    done = amc("--help")
    assert done.returncode == 0
    assert {"prepare", "schema"} <= set(done.stdout.split())


def test_version_is_the_distributions(amc: Amc) -> None:
    from importlib.metadata import version

    assert amc("--version").stdout == f"amc {version('amc-platform')}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["trian"], ["prepare", "scenes"], ["prepare", "scenes", "--train", "x"]]
)
def test_a_wrong_command_line_leaves_with_2(amc: Amc, arguments: list[str]) -> None:
    done = amc(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_schema_is_json_of_an_experiment(amc: Amc) -> None:
    schema = json.loads(amc("schema").stdout)
    assert {"name", "model", "data", "objective", "training", "evaluation"} <= set(schema["properties"])


def test_prepare_scenes_writes_a_table_and_says_what_is_in_it(amc: Amc, tmp_path: Path) -> None:
    from amc_platform.data.table import read_info

    done = amc("prepare", "scenes", "--out", "scenes.parquet", *SMALL, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    info = read_info(tmp_path / "scenes.parquet")
    assert said["content_hash"] == info.content_hash
    assert {split: counts["images"] for split, counts in info.counts["splits"].items()} == {
        "train": 4,
        "val": 2,
        "test": 3,
        "unseen": 2,
    }
    assert "images: 11 of 11" in done.stderr


def test_prepare_scenes_prints_plain_lines_off_a_terminal(amc: Amc) -> None:
    done = amc("prepare", "scenes", "--out", "scenes.parquet", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("scenes.parquet: 11 images")
    assert "\x1b" not in done.stdout + done.stderr
    assert any(line.split()[0] == "hard" for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--train", "-1"], "train"),
        (["--train", "0", "--val", "0", "--test", "0", "--unseen", "0"], "out.parquet"),
        (["--image-size", "3"], "image_size"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    amc: Amc, tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = amc("prepare", "scenes", "--out", "out.parquet", *SMALL, *arguments)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("amc: ")
    assert named in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_of_several_lines_is_said_in_one(tmp_path: Path) -> None:
    done = run_main(
        "from amc_models.errors import InputError; raise InputError('spec.yaml:3: no\\n such field')",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (2, "amc: spec.yaml:3: no such field\n")


def test_a_failure_is_one_line_that_says_where_the_traceback_is(tmp_path: Path) -> None:
    done = run_main("raise RuntimeError('lost')", tmp_path)
    assert done.returncode == 1
    (log,) = tmp_path.glob("amc-*.log")
    assert done.stderr == f"amc: RuntimeError: lost; the traceback is in {log}\n"
    assert "RuntimeError: lost" in log.read_text().splitlines()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run_main("raise RuntimeError('lost')", tmp_path, AMC_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert list(tmp_path.glob("amc-*.log")) == []


def test_an_interruption_is_one_line(tmp_path: Path) -> None:
    done = run_main("raise KeyboardInterrupt", tmp_path)
    assert (done.returncode, done.stderr) == (130, "amc: interrupted\n")


def test_telemetry_is_off_unless_asked_for(tmp_path: Path) -> None:
    body = "import os; print(os.environ['RAY_USAGE_STATS_ENABLED'], os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    assert run_main(body, tmp_path, RAY_USAGE_STATS_ENABLED="1").stdout == "1 true\n"
