"""The tracker on MLflow. Nothing else in the platform imports it."""

import getpass
import importlib
import json
import logging
import os
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from amc_platform.tracking.events import Ending, Model, Point
from amc_platform.tracking.opening import without_credentials
from amc_platform.tracking.privacy import quiet_environment
from amc_platform.tracking.tracker import DataInput, RefusedError, Run, RunRequest

if TYPE_CHECKING:
    from mlflow import MlflowClient

_Item = TypeVar("_Item")

_POINTS_PER_REQUEST = 1000
_ENTRIES_PER_REQUEST = 100
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000

# The follower tries again by itself, and keeps what is not sent: a request fails soon, in place of MLflow's
# four minutes of retries. What the user has set stays.
_PROMPT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_SERVERS = ("http:", "https:", "databricks")
_ERROR = "error"


class MlflowTracker:
    """Runs in one MLflow experiment, which is made where it is missing.

    A store without a server (SQLite, PostgreSQL) gets `artifacts` as the experiment's absolute folder: MLflow
    would put them into the current one. A metric row of MLflow is one (run, key, time, step, value), so that
    points sent a second time with the journal's time change nothing.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        self.destination = without_credentials(uri)
        self._uri = uri
        self._experiment = experiment
        self._artifacts = artifacts
        self._client: MlflowClient | None = None
        self._experiment_id: str | None = None

    def prepare(self) -> None:
        """Import MLflow (seconds), quietly."""
        quiet_environment()
        for name, value in _PROMPT.items():
            os.environ.setdefault(name, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("mlflow")
            if not self._uri.startswith(_SERVERS):
                importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
                importlib.import_module("alembic.command")
                # Done here, else at the first use; it warns of what MLflow asks of SQLAlchemy.
                importlib.import_module("sqlalchemy.orm").configure_mappers()
        for name in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # It prints a traceback and raises; what is raised is told in one line, or waited out, by whoever catches it.
        logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)

    def open_run(self, request: RunRequest) -> Run:
        """Find the run by its keys, or make it. What the server says of wrong credentials is told with the remedy."""
        from mlflow.exceptions import MlflowException

        try:
            return self._open_run(request)
        except MlflowException as error:
            if "error code 401" in str(error):
                raise PermissionError(
                    "401, not authorised: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
                ) from error
            raise

    def _open_run(self, request: RunRequest) -> Run:
        client = self._connected()
        experiment = self._experiment_of(client)
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in request.keys.items())
        found = client.search_runs(
            [experiment], wanted, max_results=1, order_by=["attributes.start_time ASC"]
        )
        if found:
            return Run(found[0].info.run_id, ended=found[0].info.status != "RUNNING")
        tags = _known_to_mlflow(request.tags) | dict(request.tags) | dict(request.keys)
        if request.parent:
            tags["mlflow.parentRunId"] = request.parent.id
        made = client.create_run(experiment, request.start_ms, _cut(tags, _LONGEST_TAG), request.name)
        return Run(made.info.run_id)

    def reopen(self, run: Run) -> None:
        """Set an ended run running again."""
        client = self._connected()
        client.update_run(run.id, status="RUNNING")
        if _ERROR in client.get_run(run.id).data.tags:
            client.delete_tag(run.id, _ERROR)

    def log_metrics(self, run: Run, points: Sequence[Point]) -> None:
        """Send points, a thousand a request."""
        from mlflow.entities import Metric

        for part in _parts(points, _POINTS_PER_REQUEST):
            metrics = [Metric(point.key, point.value, point.time_ms, point.step) for point in part]
            with _refusals():
                self._connected().log_batch(run.id, metrics=metrics)

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Send the parameters that the run does not have; MLflow refuses another value for one it has."""
        from mlflow.entities import Param

        known = self._connected().get_run(run.id).data.params
        new = [Param(key, value) for key, value in _cut(params, _LONGEST_PARAM).items() if key not in known]
        for part in _parts(new, _ENTRIES_PER_REQUEST):
            with _refusals():
                self._connected().log_batch(run.id, params=part)

    def set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        """Send tags."""
        from mlflow.entities import RunTag

        entries = [RunTag(key, value) for key, value in _cut(tags, _LONGEST_TAG).items()]
        for part in _parts(entries, _ENTRIES_PER_REQUEST):
            with _refusals():
                self._connected().log_batch(run.id, tags=part)

    def log_artifact(self, run: Run, path: Path, to: str) -> None:
        """Send a file, or what a folder holds."""
        client = self._connected()
        with _refusals():
            if path.is_dir():
                client.log_artifacts(run.id, str(path), to or None)
            else:
                client.log_artifact(run.id, str(path), to or None)

    def log_inputs(self, run: Run, inputs: Sequence[DataInput]) -> None:
        """Record data sets by name and hash; MLflow takes each once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        datasets = [
            DatasetInput(
                Dataset(data.name, data.digest, "local", json.dumps({"uri": data.source})),
                [InputTag("mlflow.data.context", data.context)],
            )
            for data in inputs
        ]
        with _refusals():
            self._connected().log_inputs(run.id, datasets)

    def log_model(self, run: Run, folder: Path, model: Model) -> None:
        """Register the checkpoint."""
        from amc_platform.tracking.registry import register

        with _refusals():
            register(self._connected(), run.id, folder, model)

    def finish(self, run: Run, status: Ending, end_ms: int | None = None, error: str = "") -> None:
        """Set status and end, and the tag `error`."""
        if error:
            self.set_tags(run, {_ERROR: error})
        self._connected().set_terminated(run.id, status, end_ms)

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self._uri)
        return self._client

    def _experiment_of(self, client: "MlflowClient") -> str:
        if self._experiment_id is None:
            known = client.get_experiment_by_name(self._experiment)
            if known is None:
                place = None if self._uri.startswith(_SERVERS) else self._artifacts.as_uri()
                self._experiment_id = client.create_experiment(self._experiment, artifact_location=place)
            elif known.lifecycle_stage != "active":
                raise RuntimeError(
                    f"the experiment {self._experiment!r} was deleted; restore it, or set tracking.experiment"
                )
            else:
                self._experiment_id = known.experiment_id
        return self._experiment_id


def _known_to_mlflow(tags: Mapping[str, str]) -> dict[str, str]:
    """Return what MLflow's own pages show of a run: who, by what, at which commit."""
    known = {"mlflow.source.name": "amc", "mlflow.source.type": "LOCAL"}
    if tags.get("git.sha", "unknown") != "unknown":
        known["mlflow.source.git.commit"] = tags["git.sha"]
    try:
        known["mlflow.user"] = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        known["mlflow.user"] = "unknown"
    return known


def _cut(values: Mapping[str, str], longest: int) -> dict[str, str]:
    return {
        key: value if len(value) <= longest else value[: longest - 1] + "…" for key, value in values.items()
    }


def _parts(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


@contextmanager
def _refusals() -> Generator[None]:
    """Raise RefusedError for what MLflow will not take however often it is sent."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise RefusedError(str(error)) from error
        raise
