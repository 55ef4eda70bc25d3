"""Checkpoints: a folder with `model.safetensors`, `config.json` and `vocab.txt`."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.tokenizer import Tokenizer

WEIGHTS, CONFIG, VOCABULARY = "model.safetensors", "config.json", "vocab.txt"
MOMENTUM_MARKS = ("_m.", "_queue", "queue_ptr")


def save_checkpoint(model: Albef, folder: str | Path, *, momentum: bool = True) -> None:
    """Write `model` into `folder`; without `momentum`, its moving averages and queues are left out (half the size)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if momentum or not any(mark in name for mark in MOMENTUM_MARKS)
    }
    # As bytes, since safetensors' own writer makes files that only their owner can read.
    (folder / WEIGHTS).write_bytes(save(state, metadata={"format": "amc-1"}))
    (folder / CONFIG).write_text(model.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if model.tokenizer is not None:
        model.tokenizer.save(folder / VOCABULARY)


def load_config(folder: str | Path) -> AlbefConfig:
    """The sizes a checkpoint folder was saved with."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise InputError(
            f"{path}: not there; a checkpoint is a folder with {WEIGHTS}, {CONFIG} and {VOCABULARY}"
        )
    try:
        return AlbefConfig(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path}: not a network config ({str(error).splitlines()[0]}); save the checkpoint again"
        ) from error


def load_checkpoint(folder: str | Path, config: AlbefConfig | None = None) -> Albef:
    """The network of a checkpoint folder.

    `config`, where given, may differ in what has no weights (dropout, momentum, heatmap layer); a checkpoint without
    moving averages starts them at its weights, with queues of random unit vectors, as training from scratch does.
    Raises InputError naming the first keys that are missing, unknown or of another shape.
    """
    folder = Path(folder)
    model = Albef(config or load_config(folder), _tokenizer(folder))
    path = folder / WEIGHTS
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({error}); save the checkpoint again"
        ) from error
    wanted = model.state_dict()
    shapes = [
        f"{k} {tuple(v.shape)} != {tuple(wanted[k].shape)}"
        for k, v in state.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    unknown = [name for name in state if name not in wanted]
    missing = [name for name in wanted if name not in state]
    without_momentum = bool(missing) and all(any(mark in name for mark in MOMENTUM_MARKS) for name in missing)
    for fault, names in (
        ("of another shape", shapes),
        ("unknown", unknown),
        ("missing", [] if without_momentum else missing),
    ):
        if names:
            raise InputError(
                f"{path}: {len(names)} keys {fault}, first {', '.join(names[:3])}; is this the right network?"
            )
    model.load_state_dict(state, strict=False)
    if without_momentum:
        model.reset_momentum()
    return model


def _tokenizer(folder: Path) -> Tokenizer | None:
    return Tokenizer.load(folder) if (folder / VOCABULARY).exists() else None


def count_trainable(model: torch.nn.Module) -> int:
    """Trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
