"""A tracker without a server: one line a run in a file."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from amc_platform.files import write_text
from amc_platform.tracking.events import Ending, Model, Point, number
from amc_platform.tracking.tracker import DataInput, Run, RunRequest


class JsonlTracker:
    """Keeps `runs.jsonl`: per run its id, name, parent, status, params, tags, inputs, artifacts and last metrics.

    The whole file is written anew, atomically, with every change: a driver that dies leaves what it had said.
    The history of a metric stands in the trial's journal. One driver at a time writes a file.
    """

    def __init__(self, path: Path) -> None:
        self.destination = str(path)
        self._path = path
        self._runs: dict[str, dict[str, Any]] | None = None

    def prepare(self) -> None:
        """Nothing."""

    def open_run(self, request: RunRequest) -> Run:
        """Find or make the run."""
        if self._runs is None:
            self._runs = self._read()
        keys = request.keys.items()
        for line in self._runs.values():
            if keys <= line["tags"].items():
                return Run(line["run_id"], ended=line["status"] != "RUNNING")
        run_id = uuid.uuid4().hex
        self._runs[run_id] = {
            "run_id": run_id,
            "name": request.name,
            "parent": request.parent.id if request.parent else None,
            "status": "RUNNING",
            "start_ms": request.start_ms,
            "end_ms": None,
            "params": {},
            "tags": {**request.tags, **request.keys},
            "metrics": {},
            "inputs": [],
            "artifacts": [],
            "models": [],
            "error": "",
        }
        self._write()
        return Run(run_id)

    def reopen(self, run: Run) -> None:
        """Set an ended run running again."""
        self._line(run).update(status="RUNNING", end_ms=None, error="")
        self._write()

    def log_metrics(self, run: Run, points: Sequence[Point]) -> None:
        """Keep the point of the highest step of every metric."""
        metrics = self._line(run)["metrics"]
        for point in points:
            if point.key not in metrics or metrics[point.key]["step"] <= point.step:
                metrics[point.key] = {"step": point.step, "value": number(point.value)}
        self._write()

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Record parameters that the run does not have yet."""
        line = self._line(run)
        line["params"] = {**params, **line["params"]}
        self._write()

    def set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._line(run)["tags"].update(tags)
        self._write()

    def log_artifact(self, run: Run, path: Path, to: str) -> None:
        """Record where the artifact lies; it is not copied."""
        self._add(run, "artifacts", {"path": str(path), "to": to})

    def log_inputs(self, run: Run, inputs: Sequence[DataInput]) -> None:
        """Record the data that the run uses."""
        for data in inputs:
            self._add(run, "inputs", asdict(data))

    def log_model(self, run: Run, folder: Path, model: Model) -> None:
        """Record the checkpoint; there is no registry."""
        self._add(run, "models", asdict(model) | {"path": str(folder)})

    def finish(self, run: Run, status: Ending, end_ms: int | None = None, error: str = "") -> None:
        """Set how and when the run ended."""
        self._line(run).update(status=status, end_ms=end_ms, error=error)
        self._write()

    def _add(self, run: Run, what: str, entry: dict[str, Any]) -> None:
        entries = self._line(run).setdefault(what, [])
        if entry not in entries:
            entries.append(entry)
            self._write()

    def _line(self, run: Run) -> dict[str, Any]:
        assert self._runs is not None, "a run is opened first"
        return self._runs[run.id]

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        lines = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        return {line["run_id"]: line for line in lines}

    def _write(self) -> None:
        assert self._runs is not None, "a run is opened first"
        write_text(
            self._path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in self._runs.values())
        )
