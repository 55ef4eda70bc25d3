"""What MLflow really holds of an experiment: the runs of each trial, and how many of their points are there twice."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunCount:
    """One run."""

    identity: str
    """Of its trial."""
    points: int
    doubled: int
    """Points whose (key, step) stands there before."""


def count_runs(uri: str, experiment: str) -> list[RunCount]:
    """Every run of a trial in the MLflow experiment; a run that groups others is left out."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    counts: list[RunCount] = []
    for run in client.search_runs([found.experiment_id]) if found else []:
        if "mlflow.parentRunId" not in run.data.tags:
            continue
        times = Counter(
            (key, point.step)
            for key in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, key)
        )
        counts.append(RunCount(run.data.tags["amc.identity"], len(times), sum(times.values()) - len(times)))
    return counts
