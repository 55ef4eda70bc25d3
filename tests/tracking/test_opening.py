"""From a spec's words to a tracker; names, stamps and silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.tracking import flatten, open_tracker, quiet_environment, stamps, tracking_uri
from amc_platform.tracking.opening import without_credentials


def test_the_spec_comes_before_the_environment_before_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a:1")
    assert tracking_uri("https://b:2", "runs") == "https://b:2"
    assert tracking_uri(None, "runs") == "http://a:1"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri(None, "runs") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert tracking_uri("sqlite:///some/m.db", "runs") == f"sqlite:///{tmp_path}/some/m.db"
    assert tracking_uri("sqlite:////abs/m.db", "runs") == "sqlite:////abs/m.db"
    assert tracking_uri("postgresql+psycopg2://u@h/d", "runs") == "postgresql+psycopg2://u@h/d"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:p@h/d")
    assert tracking_uri(None, "runs") == "postgresql://u:p@h/d"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mlruns", "file store"),
        ("file:///tmp/mlruns", "file store"),
        ("sqlite://", "names no file"),
        ("htp://me:secret@host", "no store that MLflow knows"),
    ],
)
def test_wrong_uris_are_refused_with_a_remedy(tmp_path: Path, uri: str, said: str) -> None:
    with pytest.raises(InputError, match=f"tracking.uri.*{said}.*say sqlite") as caught:
        tracking_uri(uri, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_wrong_uri_of_the_environment_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI"):
        open_tracker("mlflow", None, "amc/a", tmp_path)


def test_wrong_kinds_and_experiments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking\.kind: 'wandb'.*say mlflow, jsonl or none"):
        open_tracker("wandb", None, "amc/a", tmp_path)
    with pytest.raises(InputError, match=r"tracking\.experiment"):
        open_tracker("none", None, "amc/", tmp_path)


@pytest.mark.parametrize("uri", ["http://me:secret@h:1", "postgresql+psycopg2://me:secret@h/d"])
def test_a_password_in_a_spec_is_refused(uri: str) -> None:
    with pytest.raises(
        InputError, match=r"tracking\.uri: holds a password.*MLFLOW_TRACKING_PASSWORD"
    ) as caught:
        tracking_uri(uri, "runs")
    assert "secret" not in str(caught.value)


def test_credentials_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_credentials("see http://me:pw@h:1/x and sqlite:///a") == "see http://h:1/x and sqlite:///a"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw@h:1")
    assert open_tracker("mlflow", None, "amc/a", tmp_path).destination == "http://h:1"


def test_a_config_becomes_dotted_leaves() -> None:
    config = {"data": {"split": "train", "kinds": None}, "seeds": [0, 1], "ok": True, "lr": 1e-4, "empty": {}}
    assert flatten(config) == {
        "data.split": "train",
        "data.kinds": "null",
        "seeds": "[0, 1]",
        "ok": "true",
        "lr": "0.0001",
        "empty": "{}",
    }


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_stamps_tell_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stamps(tmp_path)["git.sha"] == stamps(tmp_path)["git.dirty"] == "unknown"
    _git(tmp_path, "init", "-q")
    assert stamps(tmp_path)["git.sha"] == "unknown"
    _git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    stamped = stamps(tmp_path)
    assert stamped["git.sha"] == _git(tmp_path, "rev-parse", "HEAD")
    assert stamped["git.dirty"] == "false"
    (tmp_path / "new_loss.py").write_text("x")
    assert stamps(tmp_path)["git.dirty"] == "true"
    assert stamped["versions.python"] == sys.version.split()[0]
    assert stamped["versions.torch"].startswith("2.")
    monkeypatch.setenv("PATH", "")
    assert stamps(tmp_path)["git.sha"] == "unknown"


def test_quiet_is_a_default_and_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "false")
    for name in ("MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    quiet_environment()
    assert os.environ["DO_NOT_TRACK"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_the_room_is_light_and_touches_no_network(tmp_path: Path) -> None:
    script = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "import amc_platform.tracking as t\n"
        "t.open_tracker('mlflow', 'http://nowhere.invalid', 'amc/a', sys.argv[1])\n"
        "t.stamps()\n"
        "heavy = {'mlflow', 'ray', 'torch', 'numpy', 'pyarrow', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
