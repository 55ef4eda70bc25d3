"""Checkpoints as registered models: versions, aliases, and loading them by name."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow_servers import Server
from tiny import tiny_model
from tracked import PARENT, client_of

from amc_models import InputError, load_checkpoint, save_checkpoint
from amc_platform.tracking import Clock, Destination, Journal, TrialRun, following
from amc_platform.tracking.registry import resolve

SCORES = {"t0": 50.0, "t1": 60.0, "t2": 55.0}


@pytest.fixture
def name(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered model of this test's own, whose registry MLFLOW_TRACKING_URI names."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"amc-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"


def train(output: Path, trial: str, name: str, *, measured: str = "m", upload: bool = True) -> Path:
    """What a training leaves of its best weights: another network for every trial."""
    folder = output / trial / "best"
    save_checkpoint(tiny_model(seed=int(trial[1:])), folder)
    (folder / "README.md").write_text(f"# {trial}\n")
    with Journal(output / trial) as journal:
        scores = {"refcoco_plus": SCORES[trial], "scenes": 100 - SCORES[trial]}
        journal.model("best", name=name, scores=scores, measured=measured, steps=8, upload=upload)
        journal.status("FINISHED")
    return folder


def send(output: Path, *trials: str) -> None:
    destination = Destination("mlflow", None, "amc/registry")
    with following(output, destination, PARENT, Clock(poll_s=0.05, close_s=120)) as follower:
        for trial in trials:
            follower.follow(TrialRun(output / trial, trial, f"{output.name}-{trial}"))
    assert follower.close() == []


def weights(path: str | Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).state_dict()


def aliases(client: Any, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def assert_same(one: str | Path, other: str | Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_aliases_name_the_best_by_validation(server: Server, name: str, tmp_path: Path) -> None:
    folders = {trial: train(tmp_path, trial, name) for trial in SCORES}
    send(tmp_path, *SCORES)
    client = client_of(server.uri)
    versions = {
        trial: next(
            str(v.version)
            for v in client.search_model_versions(f"name='{name}'")
            if v.description == f"# {trial}\n"
        )
        for trial in SCORES
    }
    # All means are 50: of equals, the first.
    first = min(versions.values(), key=int)
    assert aliases(client, name) == {
        "best-refcoco_plus": versions["t1"],
        "best-scenes": versions["t0"],
        "single": first,
    }
    assert_same(f"models:/{name}@best-refcoco_plus", folders["t1"])
    assert_same(f"models:/{name}/{versions['t2']}", folders["t2"])

    for trial in SCORES:
        (tmp_path / trial / "tracked.json").unlink()  # as if every answer had been lost
    send(tmp_path, *SCORES)
    assert len(client.search_model_versions(f"name='{name}'")) == 3

    # What is measured otherwise is not compared with what was measured before.
    train(tmp_path / "later", "t2", name, measured="another protocol")
    send(tmp_path / "later", "t2")
    assert set(aliases(client, name).values()) == {"4"}


def test_weights_are_fetched_where_they_are_not_seen(server: Server, name: str, tmp_path: Path) -> None:
    folder = train(tmp_path, "t0", name)
    send(tmp_path, "t0")
    uri = f"models:/{name}@single"
    assert resolve(uri) == folder
    kept = shutil.copytree(folder, tmp_path / "kept")
    save_checkpoint(tiny_model(seed=7), folder)  # trained again, to other weights
    cached = resolve(uri)
    assert cached.is_relative_to(tmp_path / "cache")
    assert_same(uri, kept)
    assert sorted(path.name for path in cached.iterdir()) == sorted(path.name for path in kept.iterdir())
    stamp = (cached / "model.safetensors").stat().st_mtime_ns
    assert (resolve(uri) / "model.safetensors").stat().st_mtime_ns == stamp


def test_weights_that_stay_where_they_lie(server: Server, name: str, tmp_path: Path) -> None:
    folder = train(tmp_path, "t0", name, upload=False)
    send(tmp_path, "t0")
    client = client_of(server.uri)
    (version,) = client.search_model_versions(f"name='{name}'")
    sent = {Path(item.path).name for item in client.list_artifacts(version.run_id, "model")}
    assert sent == {path.name for path in folder.iterdir()} - {"model.safetensors"}
    assert resolve(f"models:/{name}@single") == folder
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="were not uploaded"):
        resolve(f"models:/{name}@single")
    assert not list((tmp_path / "cache").rglob("config.json"))


def test_names_that_nobody_knows_are_plain_errors(
    server: Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=f"models:/{name}@single: not to be had from http"):
        load_checkpoint(f"models:/{name}@single")
    with pytest.raises(InputError, match="say models:/<name>@<alias>"):
        load_checkpoint(f"models:/{name}")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no registry at"):
        load_checkpoint(f"models:/{name}@single")
    assert not (tmp_path / "runs").exists()
