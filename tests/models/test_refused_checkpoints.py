"""Checkpoints that are refused: keys without an explanation, pickles that hold code, damaged files."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from published_file import save_published
from safetensors.torch import save_file
from tiny import tiny_config
from torch import Tensor

from amc_models.errors import InputError
from amc_models.weights import load_checkpoint

WORDS_KEY = "text_encoder.bert.embeddings.word_embeddings.weight"
DECODER_KEY = "text_encoder.cls.predictions.decoder"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"itm_head.bias": None}, r"1 of 213 .*: itm_head.bias \(missing: the network needs it\); give"),
        ({"head.bias": torch.zeros(2)}, r"1 of 214 .*: head.bias \(unknown: no such key in the network\); give"),
        ({"itm_head.bias": torch.zeros(3)}, r"\(unfit: float32 \[3\], not float32 \[2\]\)"),
        ({"itm_head.bias": torch.zeros(2).long()}, r"\(unfit: int64 \[2\], not float32 \[2\]\)"),
        ({"module.temp": torch.tensor(0.1)}, r"module.temp \(unknown: a second temp\)"),
        ({"queue_ptr": torch.zeros(1).long()}, r"\(unknown: a second queue_ptr_img\)"),
        ({"visual_encoder.pos_embed": torch.zeros(1, 18, 16)}, r"float32 \[1, 18, 16\], not float32 \[1, 17, 16\]"),
        ({"visual_encoder.pos_embed": torch.zeros(0)}, r"float32 \[0\], not float32 \[1, 17, 16\]"),
        ({f"{DECODER_KEY}.bias": torch.ones(13)}, rf"{DECODER_KEY}.bias \(unfit: must equal text_encoder.cls.pred"),
        ({f"{DECODER_KEY}.weight": torch.zeros(13, 16)}, rf"{DECODER_KEY}.weight \(unfit: must equal {WORDS_KEY}"),
        ({"vision_proj_m.bias": None}, r"vision_proj_m.bias \(missing: the network needs it\)"),
        ({"text_queue": None}, r"text_queue \(missing: the network needs it\)"),
        (dict.fromkeys("abcd", torch.zeros(1)), r"4 of 217 .*: a .*, b .*, c .* and 1 more; give"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    path = tmp_path / "weights.pth"
    state = {**save_published(path), **change}
    save_published(path, {key: tensor for key, tensor in state.items() if tensor is not None})
    with pytest.raises(InputError, match=message) as error:
        load_checkpoint(path, tiny_config())
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


class Attack:
    """What a pickle of it does when it is loaded: make a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("kind", ["zip", "old", "plain pickle", "beside the weights"])
def test_a_pickle_with_code_is_refused_without_running_it(tmp_path: Path, kind: str) -> None:
    path, attack = tmp_path / "weights.pth", Attack(tmp_path / "victim")
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(attack, protocol=2))
    elif kind == "beside the weights":
        torch.save({"model": save_published(path), "config": attack}, path)
    else:
        torch.save({"model": attack}, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(
        InputError, match=r"holds posix.mkdir, which is no tensor; nothing of it was run; give"
    ):
        load_checkpoint(path, tiny_config())
    assert not (tmp_path / "victim").exists()
    # The attack is a real one.
    if kind == "plain pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert (tmp_path / "victim").is_dir()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such checkpoint; check the path"),
        (b"", "is cut off or no checkpoint"),
        (b"weights, I promise\n" * 20, "is no file of torch.save; give"),
        (pickle.dumps({"model": {}}, protocol=4), "is no file of torch.save; give"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.pt"])
def test_files_that_are_no_checkpoint(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_checkpoint(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_told_in_one_line(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    state = {f"weight_{index}": torch.rand(100) for index in range(50)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="is cut off or no checkpoint") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "must hold tensors by name, bare or under 'model', but there are none"),
        ([1, 2], "must hold tensors by name"),
        ({"state": {"a": torch.zeros(1)}, "epoch": 3}, "but 'state' is none"),
        ({"model": {"a": torch.zeros(1), "b": 3}}, "but 'b' is none"),
        ({"model": {7: torch.zeros(1)}}, "but 7 is none"),
    ],
)
def test_a_file_must_hold_tensors_by_name(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path / "weights.pth")
