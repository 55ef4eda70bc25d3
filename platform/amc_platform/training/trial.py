"""A trial on disk: what is to be trained, and how far it came."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from amc_platform.files import write_json
from amc_platform.spec import Experiment, evaluation_identity

CODE_FORMAT = "1"
"""Raised when equal specs start to give other weights; finished trials of older formats are not reused."""


@dataclass(frozen=True)
class TrialJob:
    """One trial, ready for a worker: its spec with absolute paths, its identity and its folder."""

    name: str
    seed: int
    experiment: Experiment
    identity: str
    folder: Path
    protocol_hash: str

    @property
    def label(self) -> str:
        """Name and seed, as people tell trials apart."""
        return f"{self.name or self.experiment.name} (seed {self.seed})"

    @property
    def model(self) -> Path:
        """Checkpoint folder of the finished training."""
        return self.folder / "model"

    @property
    def states(self) -> Path:
        """Folder of the states an interrupted training continues from."""
        return self.folder / "checkpoints"

    def evaluation(self, split: str) -> Path:
        """Folder of the hits and the gallery of a split; another protocol is another folder."""
        return (
            self.folder
            / "evaluations"
            / f"{split}-{evaluation_identity(self.identity, self.protocol_hash, split)}"
        )

    @property
    def trained(self) -> bool:
        """Whether the final weights are there."""
        return (self.model / "config.json").is_file()

    @property
    def missing_splits(self) -> list[str]:
        """Splits of the spec that are not evaluated yet."""
        wanted = self.experiment.evaluation
        needs = ["hits.parquet", *(["gallery"] if wanted.gallery else [])]
        return [s for s in wanted.splits if not all((self.evaluation(s) / need).exists() for need in needs)]

    @property
    def done(self) -> bool:
        """Trained and evaluated."""
        return self.trained and not self.missing_splits

    @property
    def state(self) -> Literal["done", "trained", "partial", "new"]:
        """How far the trial came, as `amc plan` says it."""
        if self.trained:
            return "trained" if self.missing_splits else "done"
        return "partial" if any(self.states.glob("step-*.pt")) else "new"


@dataclass
class TrialStatus:
    """What happened to a trial; kept in `status.json`."""

    state: Literal["running", "finished", "failed"] = "running"
    steps: int = 0
    train_seconds: float = 0.0
    world_sizes: tuple[tuple[int, int], ...] = ()
    """(step, workers) of every start: the first one and each continuation."""
    error: str = ""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The recorded status; a fresh one where none is recorded."""
        path = folder / "status.json"
        if not path.is_file():
            return cls()
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["world_sizes"] = tuple((int(step), int(size)) for step, size in fields["world_sizes"])
        return cls(**fields)

    def write(self, folder: Path) -> None:
        """Record (atomically)."""
        write_json(folder / "status.json", asdict(self))
