"""Where an experiment is recorded."""

from typing import Literal

from pydantic import Field

from amc_platform.spec.values import Section, Word


class TrackingSpec(Section):
    """Where parameters, metrics and artifacts are recorded."""

    kind: Literal["mlflow", "jsonl", "none"] = Field(
        default="mlflow", description="MLflow, a file of JSON lines, or nothing."
    )
    uri: Word | None = Field(
        default=None,
        description="MLflow server; null takes MLFLOW_TRACKING_URI, else a database in the output folder.",
    )
    experiment: Word | None = Field(default=None, description="MLflow experiment; null for amc/<name>.")
    model: Word | None = Field(
        default=None,
        description="Registered model whose version the best weights of each trial become, such as amc-scenes.",
    )
    upload: bool = Field(
        default=True,
        description="Copy registered weights to the store; false registers the path they lie at.",
    )
