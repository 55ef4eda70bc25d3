"""Checkpoints: our folder with `model.safetensors`, `config.json` and `vocab.txt`, or a published ALBEF or AMC file."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import save
from torch import Tensor

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.keys import KeyReport, is_momentum, is_queue, settle
from amc_models.published import config_of, read_state
from amc_models.registered import local_folder
from amc_models.tokenizer import Tokenizer

WEIGHTS, CONFIG, VOCABULARY = "model.safetensors", "config.json", "vocab.txt"


def save_checkpoint(model: Albef, folder: str | Path, *, momentum: bool = True) -> None:
    """Write `model` into `folder`; without `momentum`, its moving averages and queues are left out (half the size).

    The files that encoders started from are not needed to load it, and not named.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if momentum or not (is_momentum(name) or is_queue(name))
    }
    # As bytes, since safetensors' own writer makes files that only their owner can read.
    (folder / WEIGHTS).write_bytes(save(state, metadata={"format": "amc-1"}))
    (folder / CONFIG).write_text(
        model.config.without_sources().model_dump_json(indent=2) + "\n", encoding="utf-8"
    )
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


def load_checkpoint(
    path: str | Path,
    config: AlbefConfig | None = None,
    *,
    vocabulary: Tokenizer | str | Path | None = None,
) -> Albef:
    """The network of a checkpoint: our folder, a published `.pth`, `.pt` or `.safetensors` file, `models:/...@alias`.

    `config` is by default the folder's, or follows from the shapes in the file (`config_of`). It may differ in what has
    no weights (heads, dropout, momentum, heatmap layer), in the image size (position embeddings are interpolated)
    and in the size of the queues, which then start anew. `vocabulary`, a file or a folder, is by default the folder's;
    a file has none. A checkpoint without moving averages starts them at its weights, one without queues starts them
    with random unit vectors, as training from scratch does.
    Raises InputError naming the first keys that cannot be explained; `inspect_checkpoint` tells of every key.
    """
    path, config, state = _read(path, config)
    model = Albef(config, _tokenizer(path, vocabulary))
    ready, report = settle(state, model.state_dict())
    if report.problem:
        raise InputError(f"{path}: {report.problem}")
    model.load_state_dict(ready, strict=False)
    if not any(map(is_momentum, ready)):
        model.reset_momentum()
    return model


def inspect_checkpoint(path: str | Path, config: AlbefConfig | None = None) -> tuple[AlbefConfig, KeyReport]:
    """The sizes with which `load_checkpoint` would load, and the fate of every key; the network is not made."""
    _, config, state = _read(path, config)
    with torch.device("meta"):
        wanted = Albef(config).state_dict()
    return config, settle(state, wanted)[1]


def _read(path: str | Path, config: AlbefConfig | None) -> tuple[Path, AlbefConfig, dict[str, Tensor]]:
    """The checkpoint's path (the folder, for our weights), config and state dict."""
    path = local_folder(path)
    if path.name == WEIGHTS and (path.parent / CONFIG).is_file():
        path = path.parent
    if path.is_dir():
        return path, config or load_config(path), read_state(path / WEIGHTS)
    state = read_state(path)
    return path, config or config_of(state, path), state


def _tokenizer(path: Path, vocabulary: Tokenizer | str | Path | None) -> Tokenizer | None:
    if vocabulary is None and (path / VOCABULARY).exists():
        vocabulary = path
    return Tokenizer.load(vocabulary) if isinstance(vocabulary, str | Path) else vocabulary


def count_trainable(model: torch.nn.Module) -> int:
    """Trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
