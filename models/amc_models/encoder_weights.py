"""Encoders that start from weights of others: a timm network's for the images, a BERT's for the texts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.encoder_files import text_config_file, text_weights_file
from amc_models.errors import InputError
from amc_models.features import TimmStem, build_network
from amc_models.published import read_state

SIZES = {
    "hidden_size": "text_width",
    "num_attention_heads": "text_heads",
    "intermediate_size": "text_feedforward",
    "vocab_size": "vocabulary_size",
    "max_position_embeddings": "max_positions",
}
"""A BERT's name of each size that must agree, and ours."""
FIXED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}
"""What our text layers compute, as a BERT's config says it; what it does not say is so by default."""


def load_encoders(model: Albef) -> None:
    """Fill the encoders from the files that the network's config names, and its momentum copies with them.

    Without `vision` weights and `text` nothing changes. Raises InputError where a file is missing, is of another
    network or of other sizes.
    """
    vision, text = model.config.vision, model.config.text
    if vision is not None and vision.weights is not None:
        load_image_weights(model, Path(vision.weights))
    if text is not None:
        load_text_weights(model, Path(text.transformers))
    model.reset_momentum()


def load_image_weights(model: Albef, file: Path) -> None:
    """Fill the timm network from `file`, its state dict by timm's names; layers above the level may be missing."""
    assert model.config.vision is not None
    stem: Any = model.visual_encoder.patch_embed
    assert isinstance(stem, TimmStem)
    name = model.config.vision.timm
    state = read_state(file)
    with torch.device("meta"):
        known = build_network(name).state_dict()
    unknown = [key for key in state if key not in known]
    if unknown:
        raise InputError(
            f"{file}: {unknown[0]} is no key of timm's {name} (one of {len(unknown)}); give weights by timm's names"
        )
    _fill(stem.network, state, file, f"timm's {name}")


def load_text_weights(model: Albef, folder: Path) -> None:
    """Fill embeddings and layers from the BERT in `folder`, and the masked-language head where it has one.

    Layer i starts as BERT's layer i, a fusion layer too, as ALBEF starts: its cross attention stays random, and so do
    layers beyond BERT's last.
    """
    layers = _check_sizes(text_config_file(folder), model.config)
    file = text_weights_file(folder)
    state = {key.removeprefix("bert."): tensor for key, tensor in read_state(file).items()}
    bert = model.text_encoder.bert
    _fill(bert.embeddings, _below(state, "embeddings."), file, "BERT's embeddings")
    for index, layer in enumerate(list(bert.encoder.layer)[:layers]):
        given = _below(state, f"encoder.layer.{index}.")
        _fill(layer, given, file, f"BERT's layer {index}", but="crossattention.")
    if head := _below(state, "cls.predictions."):
        _fill(model.text_encoder.cls.predictions, head, file, "BERT's masked-language head")


def _check_sizes(file: Path, config: AlbefConfig) -> int:
    """Compare a BERT's config with ours; returns how many layers it has."""
    try:
        stated: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        layers = int(stated["num_hidden_layers"])
        wrong = [
            f"{theirs} is {stated[theirs]}, but model.{ours} is {getattr(config, ours)}"
            for theirs, ours in SIZES.items()
            if stated[theirs] != getattr(config, ours)
        ]
        others = [
            f"{key} is {stated[key]!r}" for key, value in FIXED.items() if stated.get(key, value) != value
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not the config of a BERT ({error!r}); give its own folder") from error
    if others:
        raise InputError(
            f"{file}: {', '.join(others)}, which is no BERT as our text layers compute; give another"
        )
    if wrong:
        raise InputError(f"{file}: {'; '.join(wrong)}; make them equal in the spec")
    if layers < config.fusion_layer:
        raise InputError(
            f"{file}: num_hidden_layers is {layers}, but model.fusion_layer is {config.fusion_layer}; "
            f"text layers are BERT's, so write {layers} or less"
        )
    return layers


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _fill(module: nn.Module, state: Mapping[str, Tensor], file: Path, what: str, but: str = " ") -> None:
    """Every tensor of `module` from `state`, whatever the floating type; those below `but` stay as they are."""
    wanted = {key: tensor for key, tensor in module.state_dict().items() if not key.startswith(but)}
    # Counted in training only; files of other tools leave it out.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    _refuse(file, what, "missing", missing)
    ready = {key: state[key] for key in wanted if key in state}
    unfit = [key for key, tensor in ready.items() if tensor.shape != wanted[key].shape]
    _refuse(file, what, "of another shape", unfit)
    module.load_state_dict(ready, strict=False)


def _refuse(file: Path, what: str, problem: str, keys: Iterable[str]) -> None:
    if keys := list(keys):
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        raise InputError(f"{file}: not {what}: {keys[0]}{more} {problem}; give the weights of that network")
