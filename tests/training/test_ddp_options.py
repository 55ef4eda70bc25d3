"""What `WorkerGroup.wrap` decides of DDP, and what the other way would do; one process is the reference."""

import os
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from tiny import tiny_batch, tiny_model
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from amc_models.batch import Batch
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives

STEPS = 3


@dataclass(frozen=True)
class Case:
    """Objectives, and DDP's options for them."""

    options: dict[str, Any]
    objective: dict[str, Any] = field(default_factory=dict[str, Any])
    micro_batches: int = 1
    """Of a step; all but the last do not synchronise."""
    empty_step: int = 1


WITHOUT_MLM: dict[str, Any] = {"mlm": 0.0}
CASES = {
    "all used": Case({}),
    "all used, looked for": Case({"find_unused_parameters": True}),
    "all used, static": Case({"static_graph": True}),
    "all used, accumulated": Case({}, micro_batches=2),
    "static, accumulated": Case({"static_graph": True}, micro_batches=2),
    "static, empty first": Case({"static_graph": True}, empty_step=0),
    "some unused": Case({}, WITHOUT_MLM),
    "some unused, looked for": Case({"find_unused_parameters": True}, WITHOUT_MLM),
    "some unused, static": Case({"static_graph": True}, WITHOUT_MLM),
}


def batch_of(case: Case, step: int, rank: int, number: int) -> Batch:
    """In one of the steps rank 1 has no region and no word that may be hidden."""
    batch = tiny_batch(images=3, per_image=2, seed=100 * number + 10 * step + rank)
    if (step, rank) != (case.empty_step, 1):
        return batch
    return replace(
        batch,
        has_region=torch.zeros_like(batch.has_region),
        region_masks=torch.zeros_like(batch.region_masks),
        maskable=torch.zeros_like(batch.maskable),
    )


def gradients(module: nn.Module, case: Case, step: int, rank: int) -> dict[str, Tensor]:
    ddp = module if isinstance(module, DistributedDataParallel) else None
    objectives: nn.Module = module if ddp is None else ddp.module
    objectives.zero_grad(set_to_none=True)
    for number in range(case.micro_batches):
        torch.manual_seed(100 * step + 10 * number + rank)
        last = number == case.micro_batches - 1
        with nullcontext() if ddp is None or last else ddp.no_sync():
            module(batch_of(case, step, rank, number), 0.4)["total"].backward()
    return {n: p.grad.clone() for n, p in objectives.named_parameters() if p.grad is not None}


def objectives_of(case: Case) -> Objectives:
    # Averages and queues stay as they are, so that a process alone sees what two see.
    return Objectives(tiny_model(), ObjectiveConfig.model_validate(case.objective), 4).eval()


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": "2"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    for name, case in CASES.items():
        objectives = objectives_of(case)
        ddp = DistributedDataParallel(objectives, broadcast_buffers=False, **case.options)
        found[name] = {"gradients": [], "error": ""}
        for step in range(STEPS):
            try:
                found[name]["gradients"].append(gradients(ddp, case, step, rank))
            except RuntimeError as error:
                found[name]["error"] = str(error)
                break
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ddp")
    spawn(worker, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def deviation(found: list[dict[str, Any]], name: str) -> list[float]:
    """Largest difference of a gradient from the mean of both ranks' alone, by step."""
    case, steps = CASES[name], list[float]()
    for step, ours in enumerate(found[0][name]["gradients"]):
        alone = [gradients(objectives_of(case), case, step, rank) for rank in range(2)]
        # A weight that no loss reads has no gradient alone, and zeros where it was looked for.
        means = {n: (alone[0][n] + alone[1][n]) / 2 for n in alone[0]}
        assert means.keys() <= ours.keys()
        steps.append(max((g - means.get(n, torch.zeros_like(g))).abs().max().item() for n, g in ours.items()))
    return steps


DECIDED = ["all used", "all used, accumulated", "some unused, looked for"]
SAME = ["all used, looked for", "all used, static", "static, empty first", "some unused, static"]


@pytest.mark.parametrize("name", DECIDED + SAME)
def test_gradients_are_the_mean_of_both_workers_alone(found: list[dict[str, Any]], name: str) -> None:
    assert [of_rank[name]["error"] for of_rank in found] == ["", ""]
    assert len(found[0][name]["gradients"]) == STEPS
    assert max(deviation(found, name)) < 1e-12
    for ours, theirs in zip(*(of_rank[name]["gradients"] for of_rank in found), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_unused_weights_that_are_not_looked_for_leave_gradients_unaveraged_and_end_the_next_step(
    found: list[dict[str, Any]],
) -> None:
    (first,) = deviation(found, "some unused")
    assert first > 0.1
    assert "Expected to have finished reduction in the prior iteration" in found[0]["some unused"]["error"]


def test_a_static_graph_cannot_accumulate(found: list[dict[str, Any]]) -> None:
    assert "expect_autograd_hooks_" in found[0]["static, accumulated"]["error"]
    assert found[0]["static, accumulated"]["gradients"] == []


def test_cases_could_differ() -> None:
    case = CASES["all used"]
    one, other = (gradients(objectives_of(case), case, 0, rank) for rank in range(2))
    assert not torch.allclose(one["model.itm_head.weight"], other["model.itm_head.weight"])
