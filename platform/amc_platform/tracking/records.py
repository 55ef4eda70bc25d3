"""What the tracking store knows of trials, across specs, users and machines: one record a trial and place.

Records are kept as runs of the MLflow experiment `amc-ledger`, found by the tag `amc.ledger` (the trial's identity),
apart from the runs that people look at: light, and one search finds those of a whole plan.
"""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from amc_platform.tracking.mlflow_tracker import MlflowTracker
from amc_platform.tracking.opening import tracking_uri
from amc_platform.tracking.tracker import RunRequest

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "amc-ledger"
_STATUS = {"claiming": "SCHEDULED", "running": "RUNNING", "done": "FINISHED", "failed": "FAILED"}
_IDENTITY, _PLACE, _RECORD = "amc.ledger", "amc.place", "amc.record"
_PAGE = 1000
_FEW = 3
_LONGEST_TAG = 8000

State: TypeAlias = Literal["claiming", "running", "partial", "failed", "stopped", "done", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Record:
    """A trial at a place (a folder of results), and how far it came there."""

    identity: str
    place: str
    """Folder of the trial, with the machine's name before it: `host:/path`."""
    state: State
    owner: str
    """Who works on it or did: `user@host:pid`."""
    heartbeat: float
    """When its owner was last known to live, in seconds since 1970."""
    run_id: str = ""
    """Run of the tracking store that holds its metrics and artifacts; empty where there is none."""
    evaluations: tuple[str, ...] = ()
    """Identities of the evaluations that are there."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """Last value of every metric of evaluations and losses."""
    steps: int = 0
    speed: float = 0.0
    """Pairs a second on all workers together; 0 where it is not known."""
    speed_key: str = ""
    """Trials of equal keys are equally fast (see search/cost.py)."""
    error: str = ""

    @property
    def folder(self) -> Path:
        """The folder, on the machine that named it or on storage that this one shares with it."""
        return Path(self.place.partition(":")[2])

    @property
    def host(self) -> str:
        """Machine of the owner."""
        return self.owner.partition("@")[2].rpartition(":")[0]

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> "Record":
        """What `text` wrote. Raises ValueError where it is none."""
        try:
            fields: dict[str, Any] = json.loads(text)
            fields["evaluations"] = tuple(fields["evaluations"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a record: {error}") from error


@runtime_checkable
class Records(Protocol):
    """A store of records. Every verb may raise when the store does not answer."""

    shared: bool
    """Whether other places may write to it too."""

    def prepare(self) -> None:
        """Do what must happen on the main thread: imports. No network."""
        ...

    def find(self, identities: Collection[str]) -> list[Record]:
        """All records of `identities`, of every place."""
        ...

    def put(self, record: Record) -> None:
        """Write the record of its identity and place."""
        ...

    def fetch(self, run_id: str, artifacts: str, to: Path) -> Path:
        """Copy the folder `artifacts` of a run somewhere below `to`; returns where it is."""
        ...


class NoRecords:
    """No store: what the folders of the trials say is all there is."""

    shared = False

    def prepare(self) -> None:
        """Nothing."""

    def find(self, identities: Collection[str]) -> list[Record]:
        """None."""
        return []

    def put(self, record: Record) -> None:
        """Nothing."""

    def fetch(self, run_id: str, artifacts: str, to: Path) -> Path:
        """Raises FileNotFoundError."""
        raise FileNotFoundError(artifacts)


class MlflowRecords:
    """Records as tags of runs in MLflow."""

    def __init__(self, uri: str, artifacts: Path, *, shared: bool) -> None:
        self.shared = shared
        self._uri = uri
        self._tracker = MlflowTracker(uri, EXPERIMENT, artifacts)
        self._runs: dict[tuple[str, str], str] = {}
        self._shown: dict[tuple[str, str], str] = {}

    def prepare(self) -> None:
        """Import MLflow (seconds)."""
        self._tracker.prepare()

    def find(self, identities: Collection[str]) -> list[Record]:
        """One search for all; for a few, one each."""
        client = self._client()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None or not identities:
            return []
        filters = [f"tags.`{_IDENTITY}` = '{i}'" for i in identities] if len(identities) <= _FEW else [""]
        return [
            record
            for wanted in filters
            for record in self._search(client, experiment.experiment_id, wanted)
            if record.identity in identities
        ]

    def _search(self, client: "MlflowClient", experiment: str, wanted: str) -> list[Record]:
        found: list[Record] = []
        token: str | None = None
        while True:
            page = client.search_runs([experiment], wanted, max_results=_PAGE, page_token=token)
            for run in page:
                record = Record.of(run.data.tags[_RECORD])
                self._runs[record.identity, record.place] = run.info.run_id
                found.append(record)
            token = page.token
            if not token:
                return found

    def put(self, record: Record) -> None:
        """Set the tags of its run, which is made where it is missing."""
        key = (record.identity, record.place)
        text = record.text()
        if len(text) > _LONGEST_TAG:
            text = replace(record, metrics={}).text()
        tags = {"amc.state": record.state, "amc.owner": record.owner, _RECORD: text}
        if key not in self._runs:
            keys = {_IDENTITY: record.identity, _PLACE: record.place}
            self._runs[key] = self._tracker.open_run(RunRequest(record.identity, keys, tags)).id
        client = self._client()
        from mlflow.entities import RunTag

        client.log_batch(self._runs[key], tags=[RunTag(name, value) for name, value in tags.items()])
        # For people who look at the ledger in MLflow's pages: nothing of ours reads it. No heartbeat changes it.
        status = _STATUS.get(record.state, "KILLED")
        if self._shown.get(key) != status:
            client.update_run(self._runs[key], status=status)
            self._shown[key] = status

    def fetch(self, run_id: str, artifacts: str, to: Path) -> Path:
        """Download."""
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow.artifacts import download_artifacts

        where = download_artifacts(
            run_id=run_id, artifact_path=artifacts, dst_path=str(to), tracking_uri=self._uri
        )
        return Path(where)

    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri)


def open_records(kind: str, uri: str | None, output: Path) -> Records:
    """The records of a spec's tracking store; none without MLflow.

    A store that the spec or MLFLOW_TRACKING_URI names may be shared with other places; the database that each output
    folder has of its own is not.
    """
    if kind != "mlflow":
        return NoRecords()
    chosen, own = tracking_uri(uri, output), f"sqlite:///{output.absolute()}/mlflow.db"
    return MlflowRecords(chosen, output.absolute() / "mlflow-artifacts" / EXPERIMENT, shared=chosen != own)
