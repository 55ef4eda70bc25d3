"""A lane: one worker group that lives as long as the command, and the folder through which it is given trials.

Starting a group costs 20 to 40 s on two cores, nearly all of it processes and imports, so it is not paid for each
trial. Trial number n is the file `job-n.json`, written by the driver; `done-n.json` is rank 0's answer. All ranks read
the same files in the same order and need no collective while they wait: one that waits for minutes would time out.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amc_platform.evaluation.protocol import Protocol
from amc_platform.files import write_json, write_text
from amc_platform.spec import Experiment, to_mapping
from amc_platform.training.trial import TrialJob

_POLL_S = 0.05
_FAULT_BYTES = 4096


@dataclass(frozen=True)
class Lane:
    """The folder of a lane; its methods are those of the driver, then those of the workers."""

    folder: Path

    @property
    def progress(self) -> Path:
        """File that rank 0 of every lane beside this one appends lines to, for people to read."""
        return self.folder.parent / "progress.log"

    @property
    def hang(self) -> Path:
        """File in which the ranks of a group that hung say which of them did."""
        return self.folder / "hang"

    @property
    def out_of_memory(self) -> Path:
        """File in which a worker says that its memory did not suffice."""
        return self.folder / "out-of-memory"

    @property
    def resize(self) -> Path:
        """File that says that the group is to leave the trial, to be started with another number of workers."""
        return self.folder / "resize"

    @property
    def signs(self) -> Path:
        """Folder of the ranks' signs of life."""
        return self.folder / "signs"

    def open(self) -> None:
        """Make the folder, with room for a fault: that the disk is full is one that must be told."""
        self.folder.mkdir(parents=True)
        write_text(self._fault, " " * _FAULT_BYTES)

    @property
    def fault(self) -> str:
        """Message of the InputError with which a worker ended the group; empty while there is none."""
        return self._fault.read_bytes().decode(errors="replace").strip() if self._fault.is_file() else ""

    def fail(self, message: str) -> None:
        """Leave the message of an InputError that ends the group, in the place that was kept for it."""
        with self._fault.open("r+b") as file:
            file.write(message.encode()[:_FAULT_BYTES])

    @property
    def _fault(self) -> Path:
        return self.folder / "fault"

    def submit(self, number: int, job: TrialJob) -> None:
        """Give the group its trial `number` (from 0)."""
        write_json(self.folder / f"job-{number:06d}.json", _to_json(job))

    def close(self) -> None:
        """Let the group return once it has done what it was given."""
        write_text(self.folder / "closed", "")

    def answer(self, number: int) -> str | None:
        """None while trial `number` is under way; then the message of the error that ended it, empty for none."""
        try:
            return json.loads((self.folder / f"done-{number:06d}.json").read_text(encoding="utf-8"))["error"]
        except OSError:  # not there, or its storage is not: asked again a moment later
            return None

    @property
    def first_open(self) -> int:
        """Number of the first trial without an answer: where a restarted group goes on."""
        return sum(1 for _ in self.folder.glob("done-*.json"))

    def receive(self, number: int) -> TrialJob | None:
        """Wait for trial `number`; None once the lane is closed and it is not there."""
        path = self.folder / f"job-{number:06d}.json"
        while True:
            closed = (self.folder / "closed").exists()
            if path.is_file():
                return _from_json(json.loads(path.read_text(encoding="utf-8")))
            if closed or not self.folder.is_dir():
                return None
            time.sleep(_POLL_S)

    def finish(self, number: int, error: str = "") -> None:
        """Say that trial `number` ended."""
        write_json(self.folder / f"done-{number:06d}.json", {"error": error})

    def report(self, line: str) -> None:
        """Say a line to people; one that the storage refuses is lost, and ends nothing."""
        with suppress(OSError), self.progress.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _to_json(job: TrialJob) -> dict[str, Any]:
    return {
        "name": job.name,
        "seed": job.seed,
        "experiment": to_mapping(job.experiment),
        "identity": job.identity,
        "folder": str(job.folder),
        "protocol": job.protocol.model_dump(mode="json"),
        "evaluated_hash": job.evaluated_hash,
    }


def _from_json(fields: dict[str, Any]) -> TrialJob:
    return TrialJob(
        name=fields["name"],
        seed=fields["seed"],
        experiment=Experiment.model_validate(fields["experiment"]),
        identity=fields["identity"],
        folder=Path(fields["folder"]),
        protocol=Protocol.model_validate(fields["protocol"]),
        evaluated_hash=fields["evaluated_hash"],
    )
