"""The recorded numbers of the published code (`tiny_*`), value by value, and what the comparison says of faults."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from amc_models.benchmarks.golden import GoldenCase
from amc_models.benchmarks.verdict import compare
from amc_models.errors import InputError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_recorded_value(shared_dir: Path, dtype: torch.dtype) -> None:
    for path in sorted((shared_dir / "golden").glob("tiny_*.json")):
        verdicts = GoldenCase(path, dtype).verdicts()
        assert len(verdicts) >= len(json.loads(path.read_text())["tensors"])
        assert [verdict for verdict in verdicts if not verdict.ok] == []


@pytest.fixture
def copied(shared_dir: Path, tmp_path: Path) -> Path:
    for path in (shared_dir / "golden").glob("tiny_a*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / "tiny_a.json"


def test_a_moved_value_is_a_miss(copied: Path) -> None:
    path = copied.with_name("tiny_a_expected.safetensors")
    tensors = load_file(path)
    tensors["attn_map"][0, 0, 0, 0] += 1e-3
    tensors["mlm_logits"] = tensors["mlm_logits"][:3].clone()
    tensors["strange"] = torch.zeros(2)
    save_file(tensors, path)
    missed = {v.name: v.deviation for v in GoldenCase(copied, torch.float64).verdicts() if not v.ok}
    assert missed.pop("attn_map") == pytest.approx(1e-3, rel=1e-3)
    assert set(missed) == {"mlm_logits", "strange"}
    assert all(math.isnan(deviation) for deviation in missed.values())


def test_recorded_gradients_are_compared(copied: Path) -> None:
    case = GoldenCase(copied, torch.float64)
    losses, parameters = case.losses(), dict(case.model.named_parameters())
    word = "text_encoder.bert.embeddings.word_embeddings.weight"
    amc, total = (
        torch.autograd.grad(losses[name], parameters[word], retain_graph=True)[0] for name in ("amc", "total")
    )
    wrong = total.clone()
    wrong[101] *= 1.001
    path = copied.with_name("tiny_a_expected.safetensors")
    recorded = {f"grad_loss_amc.{word}": amc, f"grad.{word}": total, f"grad_loss_total.{word}": wrong}
    save_file(load_file(path) | {k: v.float() for k, v in recorded.items()}, path)
    verdicts = {v.name: v.ok for v in GoldenCase(copied, torch.float64).verdicts() if "grad" in v.name}
    assert amc.abs().max() > 0
    assert verdicts.pop(f"grad_loss_total.{word}") is False
    assert len(verdicts) >= 3
    assert all(verdicts.values())


def test_a_mask_on_some_pairs_only(copied: Path) -> None:
    """Heatmaps, L_mean and L_max look at the flagged pairs alone."""
    path = copied.with_name("tiny_a_inputs.safetensors")
    inputs = load_file(path)
    inputs["mask_indicator"] = torch.tensor([[1], [0], [0], [1]])
    save_file(inputs, path)
    everything, some = GoldenCase(copied, torch.float64), GoldenCase(copied, torch.float64)
    everything.batch.has_region[:] = True
    whole, part = everything.values(), some.values()
    torch.testing.assert_close(part["gradcam_raw"], whole["gradcam_raw"][[0, 3]])
    maps, masks = whole["gradcam_up"][[0, 3]], some.batch.region_masks[[0, 3]]
    pooled = (maps * (1 - masks)).sum() / (1 - masks).sum() - (maps * masks).sum() / masks.sum() + 0.1
    peaks = (maps * (1 - masks)).amax((1, 2)) - (maps * masks).amax((1, 2)) + 0.5
    wanted = 0.2 * pooled.clamp(min=0) + 0.8 * peaks.clamp(min=0).mean()
    torch.testing.assert_close(part["loss_amc"], wanted)


def test_tolerance_is_ten_deviations_but_never_below_float32() -> None:
    wanted = torch.tensor([4.0])
    assert compare("c", "n", wanted, wanted, 1e-3).tolerance == pytest.approx(1e-2)
    assert compare("c", "n", wanted, wanted, 0.0).tolerance == pytest.approx(10 * 2**-23 * 4)
    ids = torch.tensor([4])
    assert compare("c", "n", ids, ids, 0.0).tolerance == 0.0


def test_an_incomplete_case_is_one_line(copied: Path) -> None:
    copied.with_name("tiny_a_inputs.safetensors").unlink()
    with pytest.raises(InputError, match="not complete"):
        GoldenCase(copied)
