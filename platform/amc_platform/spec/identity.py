"""What makes two trainings, or two evaluations, the same one."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from amc_platform.spec.loading import to_mapping
from amc_platform.spec.schema import Experiment

_DATA_UNCOUNTED = ("table", "prepare", "loader_workers", "empty_regions")
_TRAINING_UNCOUNTED = ("log_every", "checkpoint_every", "early_stopping", "activation_checkpointing")
_LATER = ("on_nan", "accumulation", "tf32")
"""Of `training`; `_chosen` and `_layout` count them."""


def identity(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `fields` (keys sorted, no spaces), its first 16 hex digits."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def training_identity(
    experiment: Experiment,
    *,
    data_hash: str,
    start_hash: str | None,
    code_format: str,
    evaluated_hash: str = "",
) -> str:
    """Identity of the weights that `experiment` trains: whatever changes them counts, nothing else does.

    Counted: the sizes of the network, `objective`, `training` but for `log_every`, `checkpoint_every` and
    `activation_checkpointing` (equal to the last bit with it and without), how batches are drawn (`data` but
    for `table` and `prepare`, for whose content `data_hash` stands, and for `loader_workers` and
    `empty_regions`, which change no batch), `seed`, `cluster.workers` times `training.accumulation` (the
    micro-batches whose losses are averaged; with `objective.batch: global` their number does not count, though
    dropout draws other noise), `cluster.gradient_precision`, `start_hash` (content of the checkpoint or of the
    encoders started from; None for random weights, then `vocabulary` counts) and `code_format` (raised when the
    training code starts to give other weights for equal specs).

    With `training.early_stopping`, the validations that it looks at count as well, and `evaluated_hash`, the content
    of `evaluation.table` where there is one.

    Not counted: `name`, `evaluation`, `tracking`, `search`, `output`, paths, the rest of `cluster`, and the
    preset that the sizes came from. A changed evaluation is a new `evaluation_identity` of this training.
    """
    spec = to_mapping(experiment)
    return identity(
        {
            "model": _network(spec["model"]),
            "objective": _without(spec["objective"], "batch"),
            "training": _without(spec["training"], *_TRAINING_UNCOUNTED, *_LATER),
            **_stopping(spec, evaluated_hash),
            "data": {**_without(spec["data"], *_DATA_UNCOUNTED), "hash": data_hash},
            "seed": spec["seed"],
            **_layout(experiment),
            **_chosen(spec),
            "start": start_hash or {"vocabulary": spec["vocabulary"]},
            "format": code_format,
        }
    )


def evaluation_identity(training: str, protocol_hash: str, split: str, data_hash: str = "") -> str:
    """Identity of the hits on `split`, under a protocol, of the weights with the identity `training`.

    `data_hash` is the content of the evaluated table, where that is not the one trained on.
    """
    other = {"data": data_hash} if data_hash else {}
    return identity({"training": training, "protocol": protocol_hash, "split": split, **other})


def _layout(experiment: Experiment) -> dict[str, Any]:
    """How the global batch is cut into micro-batches, where losses are over each of them."""
    return {"batch": "global"} if experiment.objective.batch == "global" else {"workers": experiment.shares}


def _chosen(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that came later, where they are not what every training before them had: old identities hold."""
    later = {
        "on_nan": (spec["training"]["on_nan"], "stop"),
        "tf32": (spec["training"]["tf32"], False),
        "gradient_precision": (spec["cluster"]["gradient_precision"], "fp32"),
    }
    return {name: value for name, (value, default) in later.items() if value != default}


def _network(model: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes; a network of timm by name and level. For the files that encoders start from, `start_hash` stands."""
    vision = model["vision"]
    timm = {"vision": _without(vision, "weights")} if vision else {}
    return {**_without(model, "preset", "vision", "text"), **timm}


def _stopping(spec: Mapping[str, Any], evaluated_hash: str) -> dict[str, Any]:
    """What decides when a training stops early; nothing where it does not."""
    stopping = spec["training"]["early_stopping"]
    looked_at = ("every", "validation_split", "validation_images", "protocol")
    other = {"data": evaluated_hash} if evaluated_hash else {}
    validations = {key: spec["evaluation"][key] for key in looked_at} | other
    return {"stopping": stopping | validations} if stopping else {}


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}
