"""From a spec's words to a tracker."""

import os
import re
from pathlib import Path

from amc_models.errors import InputError
from amc_platform.tracking.tracker import NoTracker, Tracker

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVERS = ("http", "https", "databricks")


def open_tracker(kind: str, uri: str | None, experiment: str, output: str | Path) -> Tracker:
    """Return the tracker of `kind` (`mlflow`, `jsonl`, `none`); it reaches for its store only when used.

    `uri` is the spec's (None: see `tracking_uri`) and concerns MLflow alone. The JSONL file is
    `<output>/<experiment without amc/, '/' as '-'>/runs.jsonl`.
    Raises InputError for a wrong kind, URI or experiment name; never for a store that does not answer.
    """
    output = Path(output).absolute()
    slug = experiment.removeprefix("amc/").replace("/", "-")
    if not slug.strip("-. ") or len(experiment) > 250:
        raise InputError(
            f"tracking.experiment: {experiment!r} names no experiment; say for instance 'amc/scenes'"
        )
    match kind:
        case "mlflow":
            from amc_platform.tracking.mlflow_tracker import MlflowTracker

            return MlflowTracker(tracking_uri(uri, output), experiment, output / "mlflow-artifacts" / slug)
        case "jsonl":
            from amc_platform.tracking.jsonl_tracker import JsonlTracker

            return JsonlTracker(output / slug / "runs.jsonl")
        case "none":
            return NoTracker()
        case _:
            raise InputError(f"tracking.kind: {kind!r} is unknown; say mlflow, jsonl or none")


def tracking_uri(uri: str | None, output: str | Path) -> str:
    """Return MLflow's store: the spec's `uri`, else MLFLOW_TRACKING_URI, else SQLite in `output`, absolute.

    A relative SQLite path is one of the current folder; it is made absolute, since workers of Ray have
    folders of their own. Raises InputError for a file store, which MLflow maintains no more, for a URI that is none,
    and for a password in `uri`, which would be recorded with every run.
    """
    field = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(output).absolute()}/mlflow.db"
    scheme = chosen.split(":", 1)[0].split("+", 1)[0].lower()
    remedy = "say sqlite:///runs/mlflow.db, postgresql://..., or the http://host:port of a server"
    if scheme == "sqlite":
        path = chosen.partition(":///")[2]
        if not path or path == ":memory:":
            raise InputError(f"{field}: {chosen!r} names no file; {remedy}")
        return f"sqlite:///{Path(path).absolute()}"
    if scheme in (*_SERVERS, *_DATABASES) and ("://" in chosen or chosen == "databricks"):
        if uri and re.search(r"://[^/@\s]*:[^/@\s]*@", uri):
            raise InputError(
                "tracking.uri: holds a password, and a spec is recorded with every run; set MLFLOW_TRACKING_URI, or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, in the environment instead"
            )
        return chosen
    if scheme == "file" or "://" not in chosen:
        raise InputError(f"{field}: {chosen!r} is a file store, which MLflow maintains no more; {remedy}")
    raise InputError(f"{field}: {without_credentials(chosen)!r} is no store that MLflow knows; {remedy}")


def without_credentials(text: str) -> str:
    """Return `text` with the user and password of every URI in it left out."""
    return re.sub(r"://[^/@\s]*@", "://", text)
