"""Checkpoints in and out, and every way they can be wrong."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_config, tiny_model

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.weights import count_trainable, load_checkpoint, save_checkpoint


def test_round_trip_keeps_every_weight(tmp_path: Path) -> None:
    model = tiny_model().float()
    model.vision_proj_m.weight.data += 1
    save_checkpoint(model, tmp_path)
    loaded = load_checkpoint(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert loaded.tokenizer is not None
    assert model.tokenizer is not None
    assert loaded.tokenizer.vocabulary == model.tokenizer.vocabulary


def test_without_momentum_the_averages_start_at_the_weights(tmp_path: Path) -> None:
    model = tiny_model().float()
    save_checkpoint(model, tmp_path / "all")
    save_checkpoint(model, tmp_path / "half", momentum=False)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "all")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_checkpoint(tmp_path / "half")
    assert torch.equal(loaded.vision_proj_m.weight, model.vision_proj.weight)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "model.safetensors: is cut off or no checkpoint"),
        ("missing", r"1 of 207 keys .*: itm_head.bias \(missing: the network needs it\)"),
        ("unknown", r"1 of 208 keys .*: more \(unknown: no such key in the network\)"),
        ("shape", r"1 of 207 keys .*: itm_head.bias \(unfit: float32 \[3\], not float32 \[2\]\)"),
        ("no config", "config.json: not there"),
        ("bad config", "config.json: not a network config"),
    ],
)
def test_damaged_checkpoints_are_told_in_one_line(tmp_path: Path, damage: str, message: str) -> None:
    save_checkpoint(tiny_model(), tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "missing":
        save_file({k: v for k, v in state.items() if k != "itm_head.bias"}, path)
    elif damage == "unknown":
        save_file({**state, "more": torch.zeros(1)}, path)
    elif damage == "shape":
        save_file({**state, "itm_head.bias": torch.zeros(3)}, path)
    elif damage == "no config":
        (tmp_path / "config.json").unlink()
    else:
        (tmp_path / "config.json").write_text('{"image_size": -1}')
    with pytest.raises(InputError, match=message) as error:
        load_checkpoint(tmp_path)
    assert "\n" not in str(error.value)


def test_base_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        model = Albef(AlbefConfig.preset("base"))
    trainable = [p for p in model.parameters() if p.requires_grad]
    # 209.94 M in 419 tensors (published-code.md A4).
    assert len(trainable) == 419
    assert round(count_trainable(model) / 1e6, 2) == 209.94


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of vision_heads"):
        tiny_config(vision_heads=3)
    with pytest.raises(ValueError, match="gradcam_layer must be a fusion layer"):
        tiny_config(gradcam_layer=3)
    with pytest.raises(InputError, match="no preset 'smal'"):
        AlbefConfig.preset("smal")
