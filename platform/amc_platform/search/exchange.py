"""What a trial of Tune and the command say to each other: files in a folder, since they are two processes.

A trial of Tune trains nothing. It asks for a row, hears how it validates, passes that on, and leaves when it is told
that the row ended or when Tune stops it. So Tune may kill it at any time: no worker group belongs to it.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amc_platform.files import write_json, write_text

_POLL_S = 0.05


@dataclass(frozen=True)
class Said:
    """How a row validates after `steps` steps; `end` where it ended, with how."""

    value: float | None
    steps: int
    end: str = ""


@dataclass(frozen=True)
class Exchange:
    """The folder; its methods are those of Tune's trials, then those of the command."""

    folder: Path

    def ask(self, trial: str, config: Mapping[str, Any]) -> None:
        """Ask for the row of `config`."""
        write_json(self.folder / f"ask-{trial}.json", dict(config))

    def hear(self, trial: str, number: int) -> Said | None:
        """Wait for what is said to `trial` as number `number` (from 0); None once the exchange is closed."""
        path = self.folder / f"said-{trial}-{number:06d}.json"
        while True:
            if path.is_file():
                return Said(**json.loads(path.read_text(encoding="utf-8")))
            if (self.folder / "closed").exists() or not self.folder.is_dir():
                return None
            time.sleep(_POLL_S)

    def asked(self) -> dict[str, dict[str, Any]]:
        """What was asked since the last call, by trial."""
        asked: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("ask-*.json")):
            asked[path.stem.removeprefix("ask-")] = json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
        return asked

    def say(self, trial: str, number: int, said: Said) -> None:
        """Say something to `trial`."""
        write_json(self.folder / f"said-{trial}-{number:06d}.json", asdict(said))

    def close(self) -> None:
        """Let every trial of Tune end."""
        if self.folder.is_dir():
            write_text(self.folder / "closed", "")
