"""What a search algorithm has proposed so far: kept, so that the same command proposes the same again and goes on."""

import json
from dataclasses import dataclass
from pathlib import Path

from amc_platform.files import write_text
from amc_platform.spec import Experiment, identity, to_mapping
from amc_platform.spec.factors import Values

_UNCOUNTED = ("budget", "cluster", "output", "tracking", "name")


@dataclass(frozen=True)
class Proposals:
    """A file of JSON lines: a head that says for which search, then the points in the order of their proposal.

    Ray Tune's own snapshots are not used: they lag behind, and after `Tuner.restore` a finished trial was seen with an
    old score. A search that is taken up again proposes these points first, and the ledger answers for those that are
    settled.
    """

    path: Path
    key: str

    @classmethod
    def of(cls, experiment: Experiment) -> "Proposals":
        """Those of a search; another space, algorithm, seed or training is another search. More rows are not."""
        spec = {key: value for key, value in to_mapping(experiment).items() if key not in _UNCOUNTED}
        spec["search"]["optuna"].pop("n")
        folder = experiment.output / experiment.name.replace("/", "-")
        return cls(folder / "proposals.jsonl", identity(spec))

    @property
    def points(self) -> list[Values]:
        """The points, each once; none where the file is of another search."""
        try:
            head, *lines = self.path.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, ValueError):
            return []
        return [json.loads(line) for line in lines] if json.loads(head) == {"search": self.key} else []

    def add(self, point: Values) -> None:
        """Keep one more point."""
        lines = [{"search": self.key}, *self.points, point]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
