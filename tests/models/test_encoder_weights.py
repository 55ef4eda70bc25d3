"""Encoders filled from the weights of others: equal to their own networks, and every way a file can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_config
from transformers import BertConfig, BertForMaskedLM, BertModel

from amc_models.albef import Albef
from amc_models.config import TimmVision, TransformersText
from amc_models.encoder_weights import load_encoders
from amc_models.errors import InputError

NETWORK = "mobilenetv3_small_050"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of three small layers as transformers saves it."""
    torch.manual_seed(3)
    bert = BertForMaskedLM(bert_config())
    for parameter in bert.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    bert.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def bert_config(**changes: Any) -> BertConfig:
    sizes: dict[str, Any] = {
        "vocab_size": 13,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 12,
    }
    return BertConfig(**{**sizes, **changes})


def model_of(folder: Path, **changes: object) -> Albef:
    sizes = {"text_layers": 4, "fusion_layer": 2, "gradcam_layer": 2, **changes}
    return Albef(tiny_config(text=TransformersText(transformers=str(folder)), **sizes)).eval()


def test_text_layers_compute_what_the_bert_computes(folder: Path) -> None:
    model = model_of(folder)
    load_encoders(model)
    theirs = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = torch.randint(1, 13, (4, 7))
    mask = torch.arange(7) < torch.tensor([7, 3, 5, 1])[:, None]
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states[2]
        found = model.text_encoder.encode(ids, mask)
    torch.testing.assert_close(found[mask], wanted[mask], rtol=0, atol=1e-5)


def test_fusion_layers_start_as_berts_and_their_cross_attention_stays(folder: Path) -> None:
    model = model_of(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_encoders(model)
    layers, theirs = model.text_encoder.bert.encoder.layer, load_file(folder / "model.safetensors")
    after = model.state_dict()
    for name, tensor in layers[2].state_dict().items():
        if not name.startswith("crossattention."):
            assert torch.equal(tensor, theirs[f"bert.encoder.layer.2.{name}"]), name
    # Cross attention is nobody's, and neither is the layer behind BERT's last.
    kept = [name for name in before if ".crossattention." in name or ".layer.3." in name]
    own = [name for name in kept if name.startswith("text_encoder.")]
    assert own
    assert all(torch.equal(before[name], after[name]) for name in own)
    head = "cls.predictions.transform.dense.weight"
    assert torch.equal(after[f"text_encoder.{head}"], theirs[head])
    # The moving averages start where the network does.
    assert all(
        torch.equal(tensor, after[name.replace("text_encoder.", "text_encoder_m.")])
        for name, tensor in after.items()
        if name.startswith("text_encoder.")
    )


def test_half_precision_is_read_as_single(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({key: tensor.half() for key, tensor in state.items()}, folder / "model.safetensors")
    model = model_of(folder)
    load_encoders(model)
    words = model.text_encoder.bert.embeddings.word_embeddings.weight
    assert words.dtype == torch.float32
    assert torch.equal(words, state["bert.embeddings.word_embeddings.weight"].half().float())


def test_tensors_only_are_read_from_a_bin_file(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    load_encoders(model_of(folder))
    torch.save({"run": print}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: holds .*print, which is no tensor"):
        load_encoders(model_of(folder))


@pytest.mark.parametrize(
    ("stated", "changes", "message"),
    [
        (
            {},
            {"text_width": 32},
            "config.json: hidden_size is 16, but model.text_width is 32; make them equal",
        ),
        ({}, {"max_positions": 9}, "max_position_embeddings is 12, but model.max_positions is 9"),
        (
            {},
            {"fusion_layer": 4, "text_layers": 5, "gradcam_layer": 4},
            "num_hidden_layers is 3, .* write 3 or",
        ),
        ({"model_type": "roberta"}, {}, "model_type is 'roberta', which is no BERT"),
        ({"hidden_act": "relu"}, {}, "hidden_act is 'relu'"),
        ({"hidden_size": None}, {}, "hidden_size is None, but model.text_width is 16"),
    ],
)
def test_a_bert_of_other_sizes_is_refused(
    folder: Path, stated: dict[str, object], changes: dict[str, object], message: str
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **stated}))
    with pytest.raises(InputError, match=message) as error:
        load_encoders(model_of(folder, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"model\.text\.transformers: .*config\.json is not there"),
        ("model.safetensors", r"model\.text\.transformers: .* holds no weights; put model\.safetensors or"),
    ],
)
def test_a_missing_file_of_a_bert_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=message):
        load_encoders(model_of(folder))


def test_a_missing_tensor_of_a_bert_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["bert.encoder.layer.1.output.dense.bias"]
    save_file(state, path)
    with pytest.raises(InputError, match=r"not BERT's layer 1: output\.dense\.bias missing"):
        load_encoders(model_of(folder))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The whole network of timm with random weights, classifier included."""
    torch.manual_seed(4)
    network = timm.create_model(NETWORK, pretrained=False)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def seeing(weights: Path) -> Albef:
    vision = TimmVision(timm=NETWORK, weights=str(weights), out_index=3)
    return Albef(tiny_config(vision=vision, image_size=64, patch_size=16)).eval()


def test_the_image_encoder_computes_what_the_network_computes(weights: Path) -> None:
    model = seeing(weights)
    load_encoders(model)
    theirs: Any = timm.create_model(NETWORK, pretrained=False)
    theirs.load_state_dict(load_file(weights))
    stem: Any = model.visual_encoder.patch_embed
    pixels = torch.randn(2, 3, 64, 64)
    options: dict[str, Any] = {"indices": [3], "intermediates_only": True}
    with torch.no_grad():
        (wanted,) = theirs.eval().forward_intermediates(pixels, **options)
        (found,) = stem.network.forward_intermediates(pixels, **options)
    assert torch.equal(found, wanted)
    copy: Any = model.visual_encoder_m.patch_embed
    assert torch.equal(copy.network.bn1.running_var, stem.network.bn1.running_var)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("gone", r"gone\.safetensors: no such checkpoint"),
        (
            "other",
            r"weights\.safetensors: features\.0 is no key of timm's mobilenetv3_small_050 \(one of 1\)",
        ),
        ("lacking", r"not timm's mobilenetv3_small_050: bn1\.weight missing"),
        ("shape", r"not timm's mobilenetv3_small_050: bn1\.weight of another shape"),
    ],
)
def test_a_wrong_file_of_weights_is_told_in_one_line(weights: Path, damage: str, message: str) -> None:
    state = load_file(weights)
    if damage == "gone":
        weights = weights.with_name("gone.safetensors")
    elif damage == "other":
        save_file({**state, "features.0": torch.zeros(1)}, weights)
    elif damage == "lacking":
        save_file({key: tensor for key, tensor in state.items() if key != "bn1.weight"}, weights)
    else:
        save_file({**state, "bn1.weight": torch.ones(3)}, weights)
    with pytest.raises(InputError, match=message) as error:
        load_encoders(seeing(weights))
    assert "\n" not in str(error.value)
