"""Published ALBEF and AMC files: in, out, sized by their shapes, and every key accounted for."""

import json
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_file import State, save_published
from safetensors.torch import load_file, save_file
from tiny import tiny_config, tiny_model

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.keys import KeyReport, settle
from amc_models.published import config_of, export_published, published_state, read_state
from amc_models.tokenizer import Tokenizer
from amc_models.vision import interpolate_positions
from amc_models.weights import inspect_checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture
def full_keys(shared_dir: Path) -> State:
    """The 844 keys of ALBEF.pth, on the meta device."""
    listed = json.loads((shared_dir / "golden" / "albef_full_keys.json").read_text())["keys"]
    return {
        key["key"]: torch.empty(key["shape"], dtype=getattr(torch, key["dtype"]), device="meta")
        for key in listed
    }


def fates(report: KeyReport) -> Counter[str]:
    return Counter(key.fate for key in report.keys)


def test_the_recorded_network_loads_and_computes_the_recorded_numbers(
    shared_dir: Path, tmp_path: Path
) -> None:
    golden = shared_dir / "golden"
    sizes = json.loads((golden / "tiny_a.json").read_text())["model_config"]
    state = load_file(golden / "tiny_a_state_dict.safetensors")
    save_published(tmp_path / "tiny.pth", state)
    # Heads do not follow from shapes at this width: 2 of 16.
    config = tiny_config(
        image_size=64, mask_size=64, patch_size=16, vision_width=32, vision_depth=2, text_width=48, text_heads=3,
        text_feedforward=96, text_layers=5, fusion_layer=2, gradcam_layer=3, vocabulary_size=128, max_positions=24,
        embedding_size=sizes["embed_dim"], queue_size=sizes["queue_size"],
    )  # fmt: skip
    model = load_checkpoint(tmp_path / "tiny.pth", config).eval()
    inputs = load_file(golden / "tiny_a_inputs.safetensors")
    expected = load_file(golden / "tiny_a_expected.safetensors")
    with torch.no_grad():
        tokens, _ = model.encode_image(inputs["image"])
        text, _ = model.encode_text(inputs["input_ids"], inputs["attention_mask"].bool())
    torch.testing.assert_close(tokens, expected["image_embeds"], rtol=0, atol=4e-5)
    torch.testing.assert_close(text, expected["text_embeds"], rtol=0, atol=2e-5)
    export_published(model, tmp_path / "again.pth", "amc")
    again = read_state(tmp_path / "again.pth")
    assert again.keys() == state.keys()
    assert [key for key, tensor in state.items() if not torch.equal(tensor, again[key])] == []


def test_the_full_layouts_are_the_listed_keys_in_their_order(full_keys: State) -> None:
    with torch.device("meta"):
        made = published_state(Albef(AlbefConfig.preset("base")), "amc")
    wanted: list[tuple[str, torch.Size, torch.dtype]] = []
    for name, tensor in full_keys.items():
        names = ("queue_ptr_img", "queue_ptr_txt") if name == "queue_ptr" else (name,)
        wanted += [(each, tensor.shape, tensor.dtype) for each in names]
    assert len(wanted) == 845
    assert [(name, tensor.shape, tensor.dtype) for name, tensor in made.items()] == wanted


def test_sizes_follow_from_shapes(full_keys: State) -> None:
    path = Path("ALBEF.pth")
    assert config_of(full_keys, path) == AlbefConfig.preset("base")
    others = {key: tensor for key, tensor in full_keys.items() if "queue" not in key and "_m." not in key}
    others["visual_encoder.pos_embed"] = torch.empty(1, 577, 768, device="meta")
    cut = {key.replace("bert.", ""): tensor for key, tensor in others.items()}
    assert config_of(cut, path) == AlbefConfig.preset("base", image_size=384, mask_size=384)
    small = {key: tensor for key, tensor in full_keys.items() if ".layer.11." not in key}
    assert config_of(small, path).text_layers == 11
    del small["text_encoder.bert.embeddings.position_embeddings.weight"]
    with pytest.raises(
        InputError, match=r"^ALBEF.pth: lacks .*position_embeddings.weight, which tells a size; give"
    ):
        config_of(small, path)
    odd = {**full_keys, "vision_proj.weight": torch.tensor(0.0)}
    with pytest.raises(InputError, match=r"^ALBEF.pth: its shapes make no network"):
        config_of(odd, path)
    narrow = {**full_keys, "visual_encoder.patch_embed.proj.weight": torch.empty(100, 3, 16, 16)}
    with pytest.raises(InputError, match="a width of 100 is no multiple of 64, so the heads are unknown"):
        config_of(narrow, path)


# Of the tiny network: 100 weights online, 100 in momentum copies, itm_head 2, temp, 2 queues, 2 pointers. 73 weights of
# each text encoder lie below `bert.`.
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s, {"loaded": 207}),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, {"renamed": 207}),
        (lambda s: {k.replace("bert.", ""): v for k, v in s.items()}, {"loaded": 61, "renamed": 146}),
        (
            lambda s: {"queue_ptr": s["queue_ptr_img"], **{k: v for k, v in s.items() if "ptr" not in k}},
            {"loaded": 205, "renamed": 1},
        ),
    ],
    ids=["amc", "module.", "without bert.", "albef"],
)
@pytest.mark.parametrize("kind", ["model.pth", "bare.pt", "old.pth", "flat.safetensors"])
def test_spellings_of_the_same_network(
    tmp_path: Path, kind: str, change: Callable[[State], State], expected: dict[str, int]
) -> None:
    plain = save_published(tmp_path / "plain.pth")
    wanted = load_checkpoint(tmp_path / "plain.pth", tiny_config()).state_dict()
    state, path = change(plain), tmp_path / kind
    if kind == "flat.safetensors":
        save_file({key: tensor.clone() for key, tensor in state.items()}, path)
    elif kind == "model.pth":
        save_published(path, state)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "bare.pt")
    found = load_checkpoint(path, tiny_config()).state_dict()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []
    assert torch.equal(found["vision_proj_m.weight"], plain["vision_proj.weight"] + 1)
    assert (found["queue_ptr_img"].item(), found["queue_ptr_txt"].item()) == (3, 3)
    _, report = inspect_checkpoint(path, tiny_config())
    assert fates(report) == {**expected, "tied": 4, "not needed": 2}
    assert report.problem == ""


def test_what_may_be_missing_starts_as_in_training_from_scratch(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = save_published(path)
    save_published(path, {k: v for k, v in state.items() if "_m." not in k and "queue" not in k})
    model = load_checkpoint(path, tiny_config())
    assert torch.equal(model.vision_proj_m.weight, state["vision_proj.weight"])
    torch.testing.assert_close(model.image_queue.norm(dim=0), torch.ones(8))
    assert model.queue_ptr_img.item() == 0
    _, report = inspect_checkpoint(path, tiny_config())
    assert fates(report) == {"loaded": 103, "tied": 2, "not needed": 1, "missing": 104}
    reasons = Counter(key.reason for key in report.keys if key.fate == "missing")
    assert reasons == {
        "starts equal to the weights": 100,
        "starts with random unit vectors": 2,
        "starts at 0": 2,
    }


def test_queues_of_another_size_start_anew(tmp_path: Path) -> None:
    state = save_published(tmp_path / "weights.pth")
    model = load_checkpoint(tmp_path / "weights.pth", tiny_config(queue_size=6))
    assert model.image_queue.shape == (8, 6)
    assert not torch.equal(model.image_queue, state["image_queue"][:, :6])
    assert (model.queue_ptr_img.item(), model.queue_ptr_txt.item()) == (0, 0)
    _, report = inspect_checkpoint(tmp_path / "weights.pth", tiny_config(queue_size=6))
    told = {key.key: key.reason for key in report.keys if key.fate == "not needed" and "queue" in key.key}
    assert told == dict.fromkeys(
        ("image_queue", "text_queue", "queue_ptr_img", "queue_ptr_txt"),
        "queues of 8 features, not 6, start anew",
    )


def test_half_precision_is_widened(tmp_path: Path) -> None:
    state = save_published(tmp_path / "weights.pth")
    save_published(
        tmp_path / "half.pth", {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    )
    model = load_checkpoint(tmp_path / "half.pth", tiny_config(image_size=24))
    assert model.vision_proj.weight.dtype == torch.float32
    assert torch.equal(model.vision_proj.weight, state["vision_proj.weight"].half().float())


def test_positions_are_interpolated_as_published(shared_dir: Path) -> None:
    cases = load_file(shared_dir / "golden" / "eval_maps.safetensors")
    names = [name.removesuffix("_in") for name in cases if name.startswith("pos_") and name.endswith("_in")]
    assert len(names) == 3
    for name in names:
        positions = interpolate_positions(cases[f"{name}_in"], int(name.split("_")[-1]))
        torch.testing.assert_close(positions, cases[f"{name}_out"], rtol=0, atol=1e-6)


def test_another_image_size_interpolates_both_encoders(tmp_path: Path) -> None:
    state = save_published(tmp_path / "weights.pth")
    config = tiny_config().at(24)
    model = load_checkpoint(tmp_path / "weights.pth", config)
    for encoder in ("visual_encoder", "visual_encoder_m"):
        found = model.state_dict()[f"{encoder}.pos_embed"]
        assert found.shape == (1, 37, 16)
        assert torch.equal(found, interpolate_positions(state[f"{encoder}.pos_embed"], 6))
    _, report = inspect_checkpoint(tmp_path / "weights.pth", config)
    assert fates(report)["interpolated"] == 2
    save_checkpoint(tiny_model().float(), tmp_path / "ours")
    ours = load_checkpoint(tmp_path / "ours", config)
    assert ours.encode_image(torch.zeros(1, 3, 24, 24))[0].shape == (1, 37, 16)
    with pytest.raises(InputError, match="image_size: 30 is no multiple of the patch of 4 pixels"):
        config.at(30)


def test_a_folder_is_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json: not there; a checkpoint is a folder with"):
        load_checkpoint(tmp_path)
    save_checkpoint(tiny_model().float(), tmp_path)
    # Its weights file says the same as the folder: the sizes beside it count, not the shapes.
    assert load_checkpoint(tmp_path / "model.safetensors").config == tiny_config()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model.safetensors: no such checkpoint; check the path"):
        load_checkpoint(tmp_path)


def test_the_vocabulary_comes_with_a_folder_or_by_name(tmp_path: Path) -> None:
    save_published(tmp_path / "weights.pth")
    without = load_checkpoint(tmp_path / "weights.pth", tiny_config())
    with pytest.raises(InputError, match="this network has no vocabulary; give one"):
        without.tokenize(["a star"])
    save_checkpoint(tiny_model(), tmp_path / "ours")
    wanted = [[2, 5, 8]]
    for vocabulary in (tmp_path / "ours", tmp_path / "ours" / "vocab.txt", tiny_model().tokenizer):
        named = load_checkpoint(tmp_path / "weights.pth", tiny_config(), vocabulary=vocabulary)
        assert named.tokenize(["a star"])[0].tolist() == wanted
    with pytest.raises(InputError, match=r"vocabulary: 6 entries, but the network has 13"):
        load_checkpoint(tmp_path / "weights.pth", tiny_config(), vocabulary=Tokenizer.of_words(["a"]))


def test_export_refuses_what_the_layout_cannot_hold(tmp_path: Path) -> None:
    stem = tiny_model(stem="convolution")
    with pytest.raises(InputError, match=r"model.stem: the published layout knows the stem `patch` only"):
        export_published(stem, tmp_path / "out.pth")
    model = tiny_model()
    model.queue_ptr_txt[0] = 1
    with pytest.raises(InputError, match="the queue pointers differ and albef holds one; choose amc"):
        export_published(model, tmp_path / "out.pth")
    export_published(model, tmp_path / "out.pth", "amc")
    assert read_state(tmp_path / "out.pth")["queue_ptr_txt"].item() == 1


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.pth"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"out.pth: cannot be written \(.*File too large\); free space"):
            export_published(tiny_model(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
    with pytest.raises(InputError, match="cannot be written"):
        export_published(tiny_model(), path / "below.pth")


def test_a_key_of_the_network_has_exactly_one_fate(full_keys: State) -> None:
    # The ties cannot be compared without numbers, so they are left out.
    state = {key: tensor for key, tensor in full_keys.items() if ".decoder." not in key}
    with torch.device("meta"):
        ready, report = settle(state, Albef(AlbefConfig.preset("base")).state_dict())
    assert fates(report) == {"loaded": 837, "renamed": 1, "not needed": 2}
    assert len(ready) == 839
