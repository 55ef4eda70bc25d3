"""The shell scripts, and how those for MLflow's server answer wrong input."""

import subprocess
import sys
from pathlib import Path

import pytest
from manifests import INFRA

SCRIPTS = sorted([*INFRA.rglob("*.sh"), *INFRA.rglob("*.sbatch")])
SECRETS = INFRA / "mlflow" / "secrets.sh"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_is_sound(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    assert path.read_text(encoding="utf-8").splitlines()[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    syntax, lint = run("bash", "-n", path), run(Path(sys.executable).with_name("shellcheck"), path)
    assert (syntax.stderr, lint.stdout) == ("", "")


def test_secrets_are_made_once_and_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert run(SECRETS, folder).stdout == f"secrets in {folder}\n"
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    passwords = [text for name, text in first.items() if name != "s3.json"]
    assert all(len(text) == 48 and int(text, 16) for text in passwords)
    assert len(set(passwords)) == 6
    (folder / "postgres_password").unlink()
    assert run(SECRETS, folder).returncode == 0
    second = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name for name in first if first[name] != second[name]} == {"postgres_password"}


@pytest.mark.parametrize(
    ("missing", "options", "told"),
    [
        ("postgres_password", ["--database", "a@b:1/c"], "postgres_password: No such file or directory"),
        (None, ["--database", "a:secret@b:1/c"], "the password is a file in --secrets"),
        (None, ["--database", "b:1/c"], "must be USER@HOST:PORT/NAME"),
    ],
)
def test_server_refuses_in_one_line(
    tmp_path: Path, missing: str | None, options: list[str], told: str
) -> None:
    folder = tmp_path / "secrets"
    run(SECRETS, folder)
    if missing:
        (folder / missing).unlink()
    serve = INFRA / "mlflow" / "serve.py"
    where = ["--secrets", str(folder), "--state", str(tmp_path), "--objects", "http://127.0.0.1:1"]
    done = run(sys.executable, serve, *where, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secrets"]  # nothing half-written


def test_slurm_script_wants_a_command() -> None:
    done = run(INFRA / "slurm" / "amc.sbatch")
    assert (done.returncode, done.stderr) == (2, "usage: sbatch infra/slurm/amc.sbatch COMMAND...\n")
