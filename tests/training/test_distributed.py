"""Two processes on gloo: gradients, AMC's second derivative included, equal the mean of the two halves."""

import dataclasses
import os
from pathlib import Path
from typing import Literal

import pytest
import torch
from tiny import tiny_batch, tiny_model
from torch import distributed
from torch.multiprocessing.spawn import spawn

from amc_models.batch import Batch
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives
from amc_platform.training.distributed import WorkerGroup


def half(rank: int) -> Batch:
    return tiny_batch(images=3, per_image=2, seed=rank)


def gradients(module: torch.nn.Module, rank: int) -> None:
    torch.manual_seed(rank)
    module(half(rank), 0.4)["total"].backward()


def worker(rank: int, folder: str, checkpointing: bool, precision: Literal["fp32", "bf16"]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": "2"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    group = WorkerGroup.current()
    objectives = Objectives(tiny_model(), ObjectiveConfig(), mask_token_id=4)
    objectives.model.checkpoint_activations(checkpointing)
    wrapped = group.wrap(objectives, all_parameters_used=True, gradient_precision=precision)
    gradients(wrapped, rank)
    objectives.update_queues()
    torch.save(
        {
            "gradients": {n: p.grad for n, p in objectives.model.named_parameters() if p.requires_grad},
            "queue": objectives.model.image_queue,
            "pointer": objectives.model.queue_ptr_img,
            "gathered": group.gather(rank),
        },
        f"{folder}/{rank}.pt",
    )
    distributed.destroy_process_group()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_workers_equal_the_mean_of_their_halves(tmp_path: Path, checkpointing: bool) -> None:
    spawn(worker, args=(str(tmp_path), checkpointing, "fp32"), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone: list[dict[str, torch.Tensor]] = []
    for rank in range(2):
        objectives = Objectives(tiny_model(), ObjectiveConfig(), mask_token_id=4)
        gradients(objectives, rank)
        alone.append({n: p.grad for n, p in objectives.model.named_parameters() if p.grad is not None})
    assert first["gradients"].keys() == alone[0].keys() == second["gradients"].keys()
    for name, gradient in first["gradients"].items():
        assert torch.equal(gradient, second["gradients"][name])
        torch.testing.assert_close(gradient, (alone[0][name] + alone[1][name]) / 2, rtol=1e-9, atol=1e-12)
    # The halves differ, so that the comparison could fail.
    assert not torch.allclose(alone[0]["itm_head.weight"], alone[1]["itm_head.weight"])
    # Queues hold the features of both ranks, in rank order, on both.
    assert torch.equal(first["queue"], second["queue"])
    assert first["pointer"].item() == 12 % 8
    assert first["gathered"] == second["gathered"] == [0, 1]


def test_gradients_in_bf16_are_those_numbers_rounded(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        (tmp_path / precision).mkdir()
        spawn(worker, args=(str(tmp_path / precision), False, precision), nprocs=2)
    exact, rounded = (
        torch.load(tmp_path / precision / "0.pt", weights_only=True)["gradients"]
        for precision in ("fp32", "bf16")
    )
    for name, gradient in exact.items():
        # Each half and their sum are rounded to 8 bits.
        scale = gradient.abs().max().item()
        torch.testing.assert_close(rounded[name], gradient, rtol=0.02, atol=0.02 * scale)
    differ = [name for name, gradient in exact.items() if not torch.equal(gradient, rounded[name])]
    assert "itm_head.weight" in differ
    assert torch.equal(rounded["itm_head.weight"], rounded["itm_head.weight"].bfloat16().double())


def test_a_single_process_is_a_group_of_one() -> None:
    group = WorkerGroup.current()
    assert (group.rank, group.size, group.leads) == (0, 1, True)
    assert group.gather("x") == ["x"]
    assert group.mean(torch.tensor(3.0)).item() == 3.0
    module = torch.nn.Linear(1, 1)
    assert group.wrap(module, all_parameters_used=True) is module


def test_batches_carry_their_shapes() -> None:
    batch = half(0)
    assert batch.image_index.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.images = batch.images  # pyright: ignore
