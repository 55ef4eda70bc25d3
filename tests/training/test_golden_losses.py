"""The losses of 30 steps of the small network, recorded: no later change may move a number unseen.

`PYTHONPATH=tests python tests/training/test_golden_losses.py` records them anew, for a change that is to move them.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from small_experiment import write_experiment

from amc_models.batch import Batch
from amc_models.benchmarks.meters import hardware
from amc_models.objectives.total import Objectives
from amc_platform.data.prepare import prepare_scenes
from amc_platform.spec import load_experiment
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.start import make_loader, mask_token_id, start_model
from amc_platform.training.step import Stepper

RECORDED = Path(__file__).with_name("golden_losses.json")
STEPS = 30
ALONE = WorkerGroup(0, 1, torch.device("cpu"))

Losses = dict[str, list[float]]


def machine() -> str:
    """What rounds: the processor, its threads in use, and torch."""
    return f"{hardware(ALONE.device)}, torch {torch.__version__}"


def in_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    floats = {name: getattr(batch, name).to(dtype) for name in ("images", "region_masks")}
    return Batch(**{**vars(batch), **floats})


def losses_of(folder: Path, dtype: torch.dtype) -> Losses:
    """Every loss of every step: all four objectives, momentum, queues, dropout and hidden words included."""
    prepare_scenes(folder / "scenes.parquet", train=24, val=6, test=8, unseen=6, workers=1)
    training = {"steps": STEPS, "lr": 1e-3, "lr_min": 1e-4, "warmup_steps": 5, "clip_norm": 1.0}
    spec = load_experiment(write_experiment(folder, model={"preset": "small"}, training=training), [])
    model = start_model(spec)
    objectives = Objectives(model, spec.objective, mask_token_id(model)).to(dtype)
    stepper = Stepper(objectives, spec.training, ALONE, seed=0)
    losses: Losses = {}
    for step, batch in enumerate(make_loader(spec, model, ALONE).batches(0, STEPS)):
        for name, value in stepper.step(in_dtype(batch, dtype), step).items():
            losses.setdefault(name, []).append(value.item())
    return losses


@pytest.fixture
def one_thread() -> object:
    """Sums are split by threads, so that their number is part of the arithmetic."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_losses_in_float64_are_the_recorded_ones_on_any_machine(tmp_path: Path) -> None:
    recorded: Losses = json.loads(RECORDED.read_text())["float64"]
    losses = losses_of(tmp_path, torch.float64)
    assert losses.keys() == recorded.keys()
    for name, values in recorded.items():
        assert losses[name] == pytest.approx(values, rel=1e-9), name


@pytest.mark.usefixtures("one_thread")
def test_losses_in_float32_are_the_recorded_ones_to_the_last_bit(tmp_path: Path) -> None:
    recorded: dict[str, Losses] = json.loads(RECORDED.read_text())["float32"]
    losses = losses_of(tmp_path, torch.float32)
    if (known := recorded.get(machine())) is not None:
        assert losses == known
        return
    # Another processor rounds sums in another order: ten times what float32 differs from float64 in these steps.
    for known in recorded.values():
        for name, values in known.items():
            assert losses[name] == pytest.approx(values, rel=3e-5), name


if __name__ == "__main__":
    torch.set_num_threads(1)
    kept = json.loads(RECORDED.read_text())["float32"] if "--add" in sys.argv else {}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        float64 = losses_of(Path(one), torch.float64)
        kept[machine()] = losses_of(Path(other), torch.float32)
    RECORDED.write_text(json.dumps({"float64": float64, "float32": kept}, indent=1) + "\n")
