"""ALBEF.pth at its full size: all 844 keys through our network and back, and AMC's 845."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from amc_models.config import AlbefConfig
from amc_models.keys import TIES
from amc_models.published import export_published, read_state
from amc_models.weights import load_checkpoint


def write_random(path: Path, keys: list[dict[str, Any]]) -> None:
    """A file of random numbers in the listed layout; what is tied is one tensor, as in a published file."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for entry in keys:
        name = entry["key"]
        encoder, _, inner = name.partition(".")
        if inner in TIES:
            state[name] = state[f"{encoder}.{TIES[inner]}"]
        elif name.endswith("position_ids"):
            state[name] = torch.arange(512)[None]
        elif name == "queue_ptr":
            state[name] = torch.tensor([4711])
        else:
            state[name] = torch.rand(entry["shape"], generator=generator)
    torch.save({"model": state, "epoch": 30}, path)


@pytest.mark.soak
def test_844_keys_there_and_back_without_loss(shared_dir: Path, tmp_path: Path) -> None:
    keys = json.loads((shared_dir / "golden" / "albef_full_keys.json").read_text())["keys"]
    write_random(tmp_path / "ALBEF.pth", keys)
    model = load_checkpoint(tmp_path / "ALBEF.pth")
    assert model.config == AlbefConfig.preset("base")
    # Both files are mapped, not read: one network is all that lies in memory.
    wanted = read_state(tmp_path / "ALBEF.pth")
    again = tmp_path / "again.pth"
    export_published(model, again, "albef")
    found = read_state(again)
    assert list(found) == list(wanted) == [key["key"] for key in keys]
    assert len(found) == 844
    assert [key for key, tensor in wanted.items() if not _same(tensor, found[key])] == []
    again.unlink()
    export_published(model, again, "amc")
    found = read_state(again)
    assert len(found) == 845
    pointer = wanted.pop("queue_ptr")
    both = {"queue_ptr_img": pointer, "queue_ptr_txt": pointer}
    assert found.keys() == wanted.keys() | both.keys()
    assert [key for key, tensor in {**wanted, **both}.items() if not _same(tensor, found[key])] == []


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
