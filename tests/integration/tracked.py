"""Following trials to MLflow, and comparing what arrived."""

from pathlib import Path
from typing import Any

from amc_platform.tracking import Clock, Destination, ParentRun, TrialRun, following, history

PARENT = ParentRun(
    "amc/scenes", "name: scenes\n", "5bec5bec5bec5bec", {"git.sha": "abc", "config.hash": "5bec"}
)


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def follow(uri: str, experiment: str, trial: TrialRun, timeout_s: float = 300) -> tuple[str, list[str]]:
    """One command that follows `trial` until all is sent: the run's id, and the warnings."""
    clock = Clock(poll_s=0.05, close_s=timeout_s)
    with following(trial.folder.parent, Destination("mlflow", uri, experiment), PARENT, clock) as follower:
        follower.follow(trial)
    return follower.run_id(trial.identity) or "", follower.close()


def assert_equal_to_journal(uri: str, run_id: str, folder: Path) -> int:
    """Compare every number in the store to the journal's; return how many there are."""
    client = client_of(uri)
    written = history(folder)
    assert set(client.get_run(run_id).data.metrics) == set(written)
    for key, points in written.items():
        stored = sorted(client.get_metric_history(run_id, key), key=lambda metric: metric.step)
        assert [(m.step, m.timestamp, repr(m.value)) for m in stored] == [
            (point.step, point.time_ms, repr(point.value)) for point in points
        ]
    return sum(map(len, written.values()))
