"""The published layout of ALBEF and AMC checkpoints: read, sized, written."""

import contextlib
import math
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.keys import ONE_POINTER, POINTERS, POSITION_IDS, TIES, plain_name

Layout = Literal["albef", "amc"]
"""ALBEF's 844 keys, or AMC's 845: two queue pointers instead of one."""

HEAD_WIDTH = 64


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors` file or in one that torch.save wrote, under "model" or bare.

    Nothing in the file is run: a pickle of anything but tensors and plain containers is refused. The tensors may be
    the file itself, mapped: copy them before it is written over.
    Raises InputError for it, and for a file that is missing, cut off or no checkpoint.
    """
    try:
        found: Any = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; check the path") from None
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        problem = (
            f"holds {code[1]}, which is no tensor; nothing of it was run"
            if code
            else "is no file of torch.save"
        )
        raise InputError(f"{path}: {problem}; give a file of weights only") from error
    # What a broken file makes the readers raise is anything, from KeyError to SafetensorError.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        problem = f"is cut off or no checkpoint ({type(error).__name__}: {reason})"
        raise InputError(f"{path}: {problem}; copy or save it again") from error
    if isinstance(found, dict) and isinstance(found.get("model"), dict):
        found = found["model"]
    entries = found.items() if isinstance(found, dict) else ()
    others = [key for key, value in entries if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others or not entries:
        held = f"{others[0]!r} is none" if others else "there are none"
        raise InputError(f"{path}: must hold tensors by name, bare or under 'model', but {held}")
    return found


def _unpickle(path: Path) -> Any:
    with warnings.catch_warnings():
        # Warnings about foreign pickles; what matters of them is an error too.
        warnings.simplefilter("ignore")
        # Mapped, so that the optimiser's state beside the weights is never read.
        return torch.load(path, weights_only=True, map_location="cpu", mmap=zipfile.is_zipfile(path))


def config_of(state: Mapping[str, Tensor], path: Path) -> AlbefConfig:
    """The sizes of the network whose state dict this is; `path` is named in errors.

    What shapes do not tell is the paper's: heads of 64, dropout 0.1, momentum 0.995, the heatmap from the third fusion
    layer, masks at the size of the image.
    """
    shapes = {plain_name(key): tuple(tensor.shape) for key, tensor in state.items()}
    remedy = "give an ALBEF or AMC file, or the config of its network"
    try:
        vision_width, _, patch_size, _ = shapes["visual_encoder.patch_embed.proj.weight"]
        _, tokens, _ = shapes["visual_encoder.pos_embed"]
        vocabulary_size, text_width = shapes["text_encoder.bert.embeddings.word_embeddings.weight"]
        layers = _indices(shapes, "text_encoder.bert.encoder.layer")
        fusion_layer = _indices(shapes, "text_encoder.bert.encoder.layer", "crossattention.")[0]
        sizes: dict[str, Any] = {
            "image_size": math.isqrt(tokens - 1) * patch_size,
            "mask_size": math.isqrt(tokens - 1) * patch_size,
            "patch_size": patch_size,
            "vision_width": vision_width,
            "vision_depth": _indices(shapes, "visual_encoder.blocks")[-1] + 1,
            "vision_heads": _heads(vision_width),
            "text_width": text_width,
            "text_heads": _heads(text_width),
            "text_feedforward": shapes["text_encoder.bert.encoder.layer.0.intermediate.dense.weight"][0],
            "text_layers": layers[-1] + 1,
            "fusion_layer": fusion_layer,
            "gradcam_layer": min(fusion_layer + 2, layers[-1]),
            "vocabulary_size": vocabulary_size,
            "max_positions": shapes["text_encoder.bert.embeddings.position_embeddings.weight"][0],
            "embedding_size": shapes["vision_proj.weight"][0],
        }
        if "image_queue" in shapes:
            sizes["queue_size"] = shapes["image_queue"][1]
        return AlbefConfig.preset("base", **sizes)
    except KeyError as error:
        raise InputError(f"{path}: lacks {error.args[0]}, which tells a size; {remedy}") from error
    except (ValueError, IndexError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(f"{path}: its shapes make no network ({reason}); {remedy}") from error


def _indices(names: Iterable[str], stack: str, part: str = "") -> list[int]:
    """Indices of the layers below `stack` that hold `part`."""
    pattern = re.compile(rf"{re.escape(stack)}\.(\d+)\.{part}")
    found = {int(match[1]) for match in map(pattern.match, names) if match}
    if not found:
        raise KeyError(f"{stack}.0.{part}")
    return sorted(found)


def _heads(width: int) -> int:
    if width % HEAD_WIDTH:
        raise ValueError(f"a width of {width} is no multiple of {HEAD_WIDTH}, so the heads are unknown")
    return width // HEAD_WIDTH


def published_state(model: Albef, layout: Layout = "albef") -> dict[str, Tensor]:
    """The network's tensors by the published keys, in their order; tied ones are the same tensor.

    Raises InputError for what the layout cannot hold: a stem of convolutions or of timm, or with `albef` two different
    pointers.
    """
    if model.config.stem != "patch" or model.config.vision is not None:
        field = "stem" if model.config.vision is None else "vision"
        raise InputError(
            f"model.{field}: the published layout knows the stem `patch` only; keep this network in our format"
        )
    if layout == "albef" and model.queue_ptr_img.item() != model.queue_ptr_txt.item():
        raise InputError("layout: the queue pointers differ and albef holds one; choose amc")
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        encoder, _, inner = name.partition(".")
        if inner.endswith("word_embeddings.weight"):
            state[f"{encoder}.{POSITION_IDS}"] = torch.arange(model.config.max_positions)[None]
        if name in POINTERS and layout == "albef":
            name = ONE_POINTER
        state[name] = tensor
        if inner == "cls.predictions.transform.LayerNorm.bias":
            state |= {f"{encoder}.{tied}": state[f"{encoder}.{source}"] for tied, source in TIES.items()}
    return state


def export_published(model: Albef, path: str | Path, layout: Layout = "albef") -> None:
    """Write {"model": state} in the published layout: the old file or the new, never half of one.

    The layout has no place for heads and vocabulary: it is read back with heads of 64, and without words.
    Raises InputError like `published_state`, and where the file cannot be written.
    """
    state = published_state(model, layout)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save({"model": state}, file)
        temporary.replace(path)
    # torch adds an error of its own to that of the file.
    except (OSError, RuntimeError) as error:
        reason = error.__context__ or error
        raise InputError(
            f"{path}: cannot be written ({reason}); free space or choose another path"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
