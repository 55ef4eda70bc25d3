"""Checkpoints as registered models of MLflow: versions, aliases, and the way back from a name to a folder."""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from amc_models.errors import InputError
from amc_platform.files import atomic_path
from amc_platform.tracking.events import Model
from amc_platform.tracking.opening import tracking_uri
from amc_platform.tracking.privacy import quiet_environment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SINGLE = "single"
"""Alias of the version that is best over all benchmarks; `best-<benchmark>` are those of one each."""

_WEIGHTS, _CARD, _ARTIFACTS = "model.safetensors", "README.md", "model"
_STEPS, _SCORES, _MEASURED, _FOLDER, _HASH = (
    f"amc.{name}" for name in ("steps", "scores", "measured", "folder", "weights_hash")
)
_LONGEST_DESCRIPTION = 5000
_URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def register(client: "MlflowClient", run_id: str, folder: Path, model: Model) -> None:
    """Make the checkpoint in `folder` a version of `model.name`, once, and set the aliases anew.

    The checkpoint becomes the run's artifact `model`: whole, or without `model.upload` all but the weights, which are
    then found at their path and by their hash.
    """
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(prefix="amc-registry-") as scratch:
        for path in folder.iterdir():
            if model.upload or path.name != _WEIGHTS:
                (Path(scratch) / path.name).symlink_to(path.absolute())
        client.log_artifacts(run_id, scratch, _ARTIFACTS)
    try:
        client.create_registered_model(model.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if not any(
        version.run_id == run_id and version.tags.get(_STEPS) == str(model.steps)
        for version in _versions(client, model.name)
    ):
        client.create_model_version(
            model.name,
            f"{client.get_run(run_id).info.artifact_uri}/{_ARTIFACTS}",
            run_id,
            tags={
                _STEPS: str(model.steps),
                _SCORES: json.dumps(dict(model.scores)),
                _MEASURED: model.measured,
                _FOLDER: str(folder.absolute()),
                _HASH: _hash(folder / _WEIGHTS),
            },
            description=(folder / _CARD).read_text(encoding="utf-8")[:_LONGEST_DESCRIPTION],
            await_creation_for=0,
        )
    _set_aliases(client, model.name)


def _set_aliases(client: "MlflowClient", name: str) -> None:
    """Give every benchmark's alias to its best version, the earlier of equals.

    Versions that were measured otherwise than the newest, on other data or by another protocol, are not compared.
    """
    versions = sorted(_versions(client, name), key=lambda version: int(version.version))
    versions = [
        version for version in versions if version.tags.get(_MEASURED) == versions[-1].tags.get(_MEASURED)
    ]
    scores = {version.version: json.loads(version.tags[_SCORES]) for version in versions}
    wanted = {SINGLE: max(scores, key=lambda version: fmean(scores[version].values()))}
    for benchmark in scores[versions[-1].version]:
        wanted[f"best-{benchmark}"] = max(scores, key=lambda version: scores[version][benchmark])
    for alias, version in wanted.items():
        client.set_registered_model_alias(name, alias, version)


def resolve(uri: str) -> Path:
    """Return the folder of the checkpoint that `models:/<name>@<alias>` or `models:/<name>/<version>` names.

    That is where it was written, if this machine sees the same weights there; else it is downloaded once into
    `~/.cache/amc/models` (XDG_CACHE_HOME). The registry is that of MLFLOW_TRACKING_URI, else of `runs/mlflow.db`.
    Raises InputError for a name that the registry does not know, or weights that are not to be had.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise InputError(
            f"{uri}: no registered checkpoint; say models:/<name>@<alias> or models:/<name>/<version>"
        )
    client, version = _found(uri, parts)
    wanted = version.tags.get(_HASH, "")
    folder = Path(version.tags.get(_FOLDER, ""))
    if (folder / _WEIGHTS).is_file() and _hash(folder / _WEIGHTS) == wanted:
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amc" / "models"
    # By hash: another server may know another version of this name and number.
    cached = cache / f"{parts['name']}-{version.version}-{wanted[:16]}"
    if not cached.is_dir():
        with atomic_path(cached) as temporary:
            temporary.mkdir()
            client.download_artifacts(str(version.run_id), _ARTIFACTS, str(temporary))
            (temporary / _ARTIFACTS).rename(inner := temporary.with_name(f"{temporary.name}.inner"))
            temporary.rmdir()
            inner.rename(temporary)
            if not (temporary / _WEIGHTS).is_file():
                raise InputError(
                    f"{uri}: its weights were not uploaded and are not at {folder}; copy them there"
                )
            if _hash(temporary / _WEIGHTS) != wanted:
                raise InputError(
                    f"{uri}: the weights in the store are not those registered; upload them again"
                )
    return cached


def _found(uri: str, parts: re.Match[str]) -> "tuple[MlflowClient, ModelVersion]":
    quiet_environment()
    store = tracking_uri(None, "runs")
    database = Path(store.partition("sqlite:///")[2])
    if store.startswith("sqlite") and not database.is_file():
        raise InputError(
            f"{uri}: no registry at {database}; set MLFLOW_TRACKING_URI to the server that knows it"
        )
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=store)
    try:
        if parts["alias"]:
            return client, client.get_model_version_by_alias(parts["name"], parts["alias"])
        return client, client.get_model_version(parts["name"], parts["version"])
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{uri}: not to be had from {store} ({reason}); check name and MLFLOW_TRACKING_URI"
        ) from error


def _versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    return list(client.search_model_versions(f"name = '{name}'", max_results=10_000))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
