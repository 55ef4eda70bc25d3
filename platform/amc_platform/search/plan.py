"""The plan of an experiment: its trials, the identity of each, and what is done already."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any

from amc_models.encoder_files import encoder_files
from amc_models.errors import InputError
from amc_models.registered import local_folder
from amc_models.vocabulary import vocabulary_file
from amc_platform.data.table import is_table, read_info
from amc_platform.evaluation.protocol import Protocol
from amc_platform.search.proposals import Proposals
from amc_platform.spec import (
    Experiment,
    Trial,
    expand_trials,
    is_published,
    load_experiment,
    training_identity,
)
from amc_platform.spec.factors import Values
from amc_platform.training.trial import CODE_FORMAT, TrialJob

UNKNOWN = "unknown"
"""Hash of a table or a checkpoint that is not there yet; and how the identities begin that depend on it."""


_local_folder = cache(local_folder)


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
    overrides: tuple[str, ...] = ()
    proposals: Proposals | None = None
    """What a search algorithm has proposed; None where all rows are known from the start."""
    left_out: tuple[Row, ...] = ()
    """Rows of the experiment that a report does not tell of, since they were not trained to their end."""

    @property
    def jobs(self) -> list[TrialJob]:
        """Every training once, in the order of the rows: rows of equal identity share one."""
        return list({job.identity: job for row in self.rows for job in row.jobs}.values())

    @property
    def pending(self) -> list[TrialJob]:
        """Jobs that are still to be run."""
        return [job for job in self.jobs if not self.settled(job)]

    def settled(self, job: TrialJob) -> bool:
        """Whether nothing is to be done for `job`: it is done or, where trials are stopped, was stopped."""
        return job.done or (self.experiment.search.asha is not None and job.state == "stopped")

    @property
    def unproposed(self) -> int:
        """Rows that a search algorithm has still to propose."""
        optuna = self.experiment.search.optuna
        return max(0, optuna.n - len(self.proposals.points)) if optuna and self.proposals else 0

    @property
    def finished(self) -> "Plan":
        """The rows all of whose jobs are done: what a report can tell of."""
        done = [all(job.done for job in row.jobs) for row in self.rows]
        rows = tuple(compress(self.rows, done))
        others = tuple(row for row, is_done in zip(self.rows, done, strict=True) if not is_done)
        return replace(self, rows=rows, left_out=self.left_out + others, proposals=None)

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.experiment.output / self.experiment.name.replace("/", "-")


def make_plan(spec: Path, overrides: Sequence[str] = (), *, outline: bool = False) -> Plan:
    """Expand `spec` and look up what is done.

    While the table is missing, identities cannot be known and every trial counts as new. Raises InputError for a
    wrong spec and, unless only an `outline` is wanted, for a missing checkpoint or vocabulary, or a missing table that
    nothing says how to make.
    """
    experiment = load_experiment(spec, overrides)
    proposals = Proposals.of(experiment) if experiment.search.optuna else None
    points = proposals.points if proposals else []
    rows: dict[str, list[Trial]] = {}
    for trial in expand_trials(spec, overrides, points):
        rows.setdefault(trial.name, []).append(trial)
    return Plan(
        experiment,
        spec,
        tuple(Row(name, row[0].changes, _jobs(row, outline)) for name, row in rows.items()),
        _content("data.table", experiment.data.table, True),
        tuple(overrides),
        proposals,
    )


def proposed_row(plan: Plan, point: Values) -> Row:
    """The row of one more point of a search."""
    trials = expand_trials(plan.source, plan.overrides, [point])
    return Row(trials[0].name, trials[0].changes, _jobs(trials, outline=False))


def _jobs(trials: Sequence[Trial], outline: bool) -> tuple[TrialJob, ...]:
    jobs: dict[str, TrialJob] = {}
    for trial in trials:
        spec = trial.experiment
        if spec.training.steps == 0 and spec.start_from is not None:
            # Nothing is drawn at random, so all seeds are the same trial.
            spec = spec.model_copy(update={"seed": 0})
        data_hash = _content("data.table", spec.data.table, outline or spec.data.prepare is not None)
        evaluated_hash = ""
        if spec.evaluation.table is not None:
            other = _content("evaluation.table", spec.evaluation.table, outline)
            evaluated_hash = other if other != data_hash else ""
        start_hash: str | None = UNKNOWN
        try:
            if spec.start_from is not None:
                # A registered checkpoint is looked up once, here: its alias may move while others wait to train.
                spec = spec.model_copy(update={"start_from": _local_folder(spec.start_from)})
            start_hash = _hash_of_start(spec)
        except InputError:
            if not outline:
                raise
        identity = training_identity(
            spec,
            data_hash=data_hash,
            start_hash=start_hash,
            code_format=CODE_FORMAT,
            evaluated_hash=evaluated_hash,
        )
        if UNKNOWN in (data_hash, start_hash, evaluated_hash):
            identity = f"{UNKNOWN}-{identity}"
        folder = spec.output / "trials" / identity
        protocol = Protocol.find(spec.evaluation.protocol)
        job = TrialJob(trial.name, trial.seed, spec, identity, folder, protocol, evaluated_hash)
        jobs.setdefault(identity, job)
    return tuple(jobs.values())


def _content(field: str, table: Path, missing_is_fine: bool) -> str:
    """Content hash of a table, `UNKNOWN` where it is not there. Raises InputError for one that must be."""
    if is_table(table):
        return _content_hash(table, table.stat().st_mtime_ns)
    if missing_is_fine:
        return UNKNOWN
    remedy = ", or set data.prepare" if field == "data.table" else ""
    raise InputError(f"{field}: {table} is not there; make it with `amc prepare`{remedy}")


@cache
def _content_hash(table: Path, _changed_ns: int) -> str:
    """Read once for all trials."""
    return read_info(table).content_hash


def _hash_of_start(spec: Experiment) -> str | None:
    """Content of the checkpoint or the encoders a training starts from, and of the vocabulary where they bring none."""
    start = spec.start_from
    files: list[Path] = []
    if start is not None:
        folder = ("model.safetensors", "config.json", "vocab.txt")
        files = [start] if is_published(start) else [start / name for name in folder]
    for path in files:
        if not path.is_file():
            raise InputError(
                f"start_from: {path} is not there; name a checkpoint's folder or a published file"
            )
    if start is None:
        files += encoder_files(spec.model)
    if (start is None or is_published(start)) and spec.vocabulary != "scenes":
        files.append(vocabulary_file(spec.vocabulary))
    stamps = [path.stat() for path in files]
    return _digest(tuple((p, s.st_mtime_ns, s.st_size) for p, s in zip(files, stamps, strict=True)))


@cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str | None:
    """Hash of the contents of files (path, time of change, size), read once for all trials: some are 4 GB."""
    digest = hashlib.sha256()
    for path, *_ in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()[:16] if files else None
