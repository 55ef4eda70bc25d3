"""The plan of an experiment: its trials, the identity of each, and what is done already."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.table import read_info
from amc_platform.evaluation.protocol import Protocol
from amc_platform.spec import Experiment, Trial, expand_trials, load_experiment, training_identity
from amc_platform.training.trial import CODE_FORMAT, TrialJob

UNKNOWN = "unknown"
"""Data hash of a table that is not made yet."""


@dataclass(frozen=True)
class Row:
    """A row of the report: a trial's name, what it changes, and its jobs, one a seed."""

    name: str
    changes: dict[str, Any]
    jobs: tuple[TrialJob, ...]


@dataclass(frozen=True)
class Plan:
    """All rows of an experiment."""

    experiment: Experiment
    source: Path
    """The spec file."""
    rows: tuple[Row, ...]
    data_hash: str

    @property
    def jobs(self) -> list[TrialJob]:
        """Every training once, in the order of the rows: rows of equal identity share one."""
        return list({job.identity: job for row in self.rows for job in row.jobs}.values())

    @property
    def pending(self) -> list[TrialJob]:
        """Jobs that are not done."""
        return [job for job in self.jobs if not job.done]

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.experiment.output / self.experiment.name.replace("/", "-")


def make_plan(spec: Path, overrides: Sequence[str] = ()) -> Plan:
    """Expand `spec` and look up what is done.

    While the table is missing, identities cannot be known and every trial counts as new. Raises InputError for a
    wrong spec, a missing checkpoint, or a missing table that nothing says how to make.
    """
    experiment = load_experiment(spec, overrides)
    data = experiment.data
    if not data.table.is_file() and data.prepare is None:
        raise InputError(
            f"{spec}: data.table: {data.table} is not there; make it with `amc prepare`, or set data.prepare"
        )
    data_hash = read_info(data.table).content_hash if data.table.is_file() else UNKNOWN
    trials = expand_trials(spec, overrides)
    rows: dict[str, list[Trial]] = {}
    for trial in trials:
        rows.setdefault(trial.name, []).append(trial)
    return Plan(
        experiment,
        spec,
        tuple(Row(name, row[0].changes, _jobs(row, data_hash)) for name, row in rows.items()),
        data_hash,
    )


def _jobs(trials: Sequence[Trial], data_hash: str) -> tuple[TrialJob, ...]:
    jobs: dict[str, TrialJob] = {}
    for trial in trials:
        spec = trial.experiment
        if spec.training.steps == 0 and spec.start_from is not None:
            # Nothing is drawn at random, so all seeds are the same trial.
            spec = spec.model_copy(update={"seed": 0})
        identity = training_identity(
            spec, data_hash=data_hash, start_hash=_hash_of_start(spec), code_format=CODE_FORMAT
        )
        folder = spec.output / "trials" / identity
        protocol = Protocol.named(spec.evaluation.protocol).hash
        jobs.setdefault(identity, TrialJob(trial.name, trial.seed, spec, identity, folder, protocol))
    return tuple(jobs.values())


def _hash_of_start(spec: Experiment) -> str | None:
    """Content of the checkpoint a training starts from, or of the vocabulary file of random weights."""
    files: list[Path] = []
    if spec.start_from is not None:
        files = [spec.start_from / name for name in ("model.safetensors", "config.json", "vocab.txt")]
    elif spec.vocabulary != "scenes":
        files = [Path(spec.vocabulary)]
    digest = hashlib.sha256()
    for path in files:
        if not path.is_file():
            field, wanted = (
                ("vocabulary", "a vocab.txt")
                if spec.start_from is None
                else ("start_from", "a checkpoint's folder")
            )
            raise InputError(f"{field}: {path} is not there; name {wanted}")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16] if files else None
