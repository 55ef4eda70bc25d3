"""A trial on disk: what is to be trained, and how far it came."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from amc_platform.evaluation.protocol import Protocol
from amc_platform.files import write_json
from amc_platform.spec import Experiment, evaluation_identity

CODE_FORMAT = "3"
"""Raised when equal specs start to give other weights; finished trials of older formats are not reused."""

TrialState = Literal["done", "trained", "stopped", "failed", "partial", "new"]


@dataclass(frozen=True)
class TrialJob:
    """One trial, ready for a worker: its spec with absolute paths, its identity and its folder."""

    name: str
    seed: int
    experiment: Experiment
    identity: str
    folder: Path
    protocol: Protocol
    evaluated_hash: str = ""
    """Content of the table that is evaluated, where it is not the one trained on."""

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

    @property
    def lock(self) -> Path:
        """File that rank 0 holds while it trains; there from its first start on."""
        return self.folder / "training.lock"

    @property
    def order(self) -> Path:
        """File in which the driver says that training is to end before its last step (see orders.py)."""
        return self.folder / "order"

    @property
    def steps_saved(self) -> int:
        """Steps after which the newest of these states was saved, 0 where there is none."""
        return max(
            (int(path.stem.removeprefix("step-")) for path in self.states.glob("step-*.pt")), default=0
        )

    @property
    def best(self) -> Path:
        """Checkpoint folder of the weights of the best validation; missing where none was made."""
        return self.folder / "best"

    def logs(self, steps: int) -> bool:
        """Whether the losses are recorded after `steps` steps; by their number, so that a continued run agrees."""
        spec = self.experiment.training
        return steps % spec.log_every == 0 or steps == spec.steps

    def evaluation(self, split: str) -> Path:
        """Folder of the hits and the gallery of a split; another protocol or table is another folder."""
        return self.folder / "evaluations" / f"{split}-{self.evaluation_identity(split)}"

    def evaluation_identity(self, split: str) -> str:
        """What tells the hits of a split from those under another protocol, or of another table."""
        return evaluation_identity(self.identity, self.protocol.hash, split, self.evaluated_hash)

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
    def adopted(self) -> Path:
        """File that says of which run the evaluations were fetched; the weights stayed there."""
        return self.folder / "adopted.json"

    @property
    def done(self) -> bool:
        """Trained and evaluated, here or where it was adopted from."""
        return (self.trained or self.adopted.is_file()) and not self.missing_splits

    @property
    def state(self) -> TrialState:
        """How far the trial came, as `amc plan` says it."""
        if self.done:
            return "done"
        if self.trained:
            return "trained"
        ended = TrialStatus.read(self.folder).state
        if ended in ("stopped", "failed"):
            return ended
        return "partial" if self.steps_saved else "new"


@dataclass
class TrialStatus:
    """What happened to a trial; kept in `status.json`."""

    state: Literal["running", "finished", "failed", "stopped", "partial"] = "running"
    steps: int = 0
    train_seconds: float = 0.0
    world_sizes: tuple[tuple[int, int], ...] = ()
    """(step, workers) of every start: the first one and each continuation."""
    error: str = ""
    memory_halved: bool = False
    """Whether micro-batches are half as large as the spec says, because memory did not suffice."""

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
