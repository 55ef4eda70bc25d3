"""What a journal holds, and its form on disk: one JSON object a line."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Ending: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]
ENDINGS: tuple[Ending, ...] = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one metric. (key, step) names it; value and time are those first written."""

    key: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """The points of one step."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of the run; a name keeps its first value."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of the run; a name takes its last value."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder, `path` relative to the trial folder, `to` a folder among the run's artifacts."""

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint folder, `path` relative to the trial folder, that is to be a version of the registered model `name`.

    `scores` are accuracies by benchmark in validation, in per cent, after `steps` steps; only scores of equal
    `measured` (a hash of data and protocol) may be compared. Without `upload` the weights stay where they lie.
    """

    path: str
    name: str
    scores: Mapping[str, float]
    measured: str
    steps: int
    upload: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The run has ended; `error` says why it failed, else it is empty."""

    status: Ending
    time_ms: int
    error: str = ""


Event: TypeAlias = Metrics | Params | Tags | Artifact | Model | Status


def encode(kind: str, time_s: float, fields: Mapping[str, object]) -> bytes:
    """Return one line of a journal, newline included. NaN and infinities must be spelled by `number`."""
    line = {"type": kind, "time": round(time_s, 3), **fields}
    return json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def number(value: float) -> float | str:
    """Return a value that strict JSON can hold: NaN and infinities become words that `float` reads back."""
    return value if math.isfinite(value) else str(value)


def decode(line: bytes) -> Event | None:
    """Return the event of a whole line, None for a kind that a follower has no use for (the head).

    Raises ValueError where the line is damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        return _event(fields, round(float(fields.get("time", 0)) * 1000))
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a line of a journal: {error}") from error


def _event(fields: dict[str, Any], time_ms: int) -> Event | None:
    match fields["type"]:
        case "metrics":
            step = int(fields["step"])
            return Metrics(
                tuple(
                    Point(str(key), float(value), step, time_ms) for key, value in fields["metrics"].items()
                )
            )
        case "params":
            return Params({str(key): str(value) for key, value in fields["params"].items()})
        case "tags":
            return Tags({str(key): str(value) for key, value in fields["tags"].items()})
        case "artifact":
            return Artifact(str(fields["path"]), str(fields.get("to", "")))
        case "model":
            scores = {str(key): float(value) for key, value in fields["scores"].items()}
            texts = {key: str(fields[key]) for key in ("path", "name", "measured")}
            return Model(**texts, scores=scores, steps=int(fields["steps"]), upload=bool(fields["upload"]))
        case "status":
            if fields["status"] not in ENDINGS:
                raise ValueError(f"unknown status {fields['status']!r}")
            return Status(fields["status"], time_ms, str(fields.get("error", "")))
        case _:
            return None
