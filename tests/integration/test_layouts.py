"""One global batch, however it is cut: 1 x 16, 2 x 8, 4 x 4 and 2 x 4 twice train the same weights."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from small_experiment import write_experiment
from tiny import WORDS, tiny_batch, tiny_model
from torch import distributed
from torch.multiprocessing.spawn import spawn

from amc_models.batch import Batch
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives
from amc_platform.data.prepare import prepare
from amc_platform.search.plan import make_plan
from amc_platform.spec import TrainingSpec
from amc_platform.training.callbacks.base import Callback, StepEnd, Training
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.loop import run_trial
from amc_platform.training.step import Stepper
from amc_platform.training.trial import TrialJob, TrialStatus

pytestmark = pytest.mark.integration
IMAGES, PER_IMAGE = 16, 2
WHOLE = ("objective.batch=global", "model.dropout=0.0")
LAYOUTS = ((1, 1), (2, 1), (4, 1), (2, 2))
"""Workers and accumulation; the first is what the others must equal."""


Trained = dict[tuple[int, int], dict[str, dict[str, torch.Tensor]]]


class Run(NamedTuple):
    """What every layout trains."""

    dtype: torch.dtype
    steps: int
    options: dict[str, Any]
    tolerance: float


RUNS = {
    "float64": Run(torch.float64, 20, {}, 1e-10),
    "float32": Run(torch.float32, 20, {}, 1e-5),
    "per sample": Run(
        torch.float64,
        5,
        {"amc": {"variant": "amc", "mean_hinge": "sample"}, "same_image_negatives": "keep"},
        1e-10,
    ),
}


def global_batch(step: int, dtype: torch.dtype) -> Batch:
    """Of step `step`; some pairs have no region, and one phrase holds for another image."""
    batch = tiny_batch(IMAGES, PER_IMAGE, seed=step)
    generator = torch.Generator().manual_seed(step)
    pairs = len(batch.input_ids)
    masks = (
        (torch.rand(pairs, 4, 4, generator=generator) < 0.3).repeat_interleave(4, 1).repeat_interleave(4, 2)
    )
    has_region = (torch.arange(pairs) % 3 > 0) & masks.flatten(1).any(dim=1)
    words = torch.randint(5, 5 + len(WORDS), batch.input_ids.shape, generator=generator)
    may = batch.may_be_negative.clone()
    may[step % pairs, :8] = False
    return Batch(
        images=batch.images.to(dtype),
        input_ids=torch.where(batch.maskable, words, batch.input_ids),
        attention_mask=batch.attention_mask,
        may_be_negative=may,
        maskable=batch.maskable,
        region_masks=(masks * has_region[:, None, None]).to(dtype),
        has_region=has_region,
    )


def share_of(batch: Batch, group: WorkerGroup) -> Batch:
    return batch.parts(group.size, all_candidates=True)[group.rank]


def train(run: Run, accumulation: int, dropout: float = 0.0) -> dict[str, Any]:
    """Losses of every step, averaged over workers, and the final weights, averages and queues."""
    group = WorkerGroup.current()
    spec = TrainingSpec(steps=run.steps, lr=1e-3, lr_min=1e-4, warmup_steps=2, accumulation=accumulation)
    model = tiny_model(queue_size=40, dropout=dropout).to(run.dtype)
    config = ObjectiveConfig.model_validate({"batch": "global", **run.options})
    stepper = Stepper(Objectives(model, config, 4), spec, group, seed=3)
    losses: list[torch.Tensor] = []
    for step in range(run.steps):
        values = stepper.step(share_of(global_batch(step, run.dtype), group), step)
        losses.append(group.mean(torch.stack([values[name] for name in sorted(values)])))
    return {"losses": torch.stack(losses), **model.state_dict()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for size, accumulation in LAYOUTS:
        if rank >= size:
            continue
        meeting = f"file://{folder}/meeting-{size}-{accumulation}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
        trained = {name: train(run, accumulation) for name, run in RUNS.items()}
        if accumulation == 2:
            noisy = RUNS["float64"]._replace(steps=3)
            trained |= {f"dropout {again}": train(noisy, 2, dropout=0.1) for again in range(2)}
        if rank == 0:
            torch.save(trained, f"{folder}/{size}-{accumulation}.pt")
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("layouts")
    spawn(worker, args=(str(folder),), nprocs=4)
    return {
        (size, accumulation): torch.load(folder / f"{size}-{accumulation}.pt", weights_only=True)
        for size, accumulation in LAYOUTS
    }


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest difference of every tensor."""
    assert one.keys() == other.keys()
    return {name: (seen(name, one) - seen(name, other)).abs().max().item() for name in one}


def seen(name: str, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The tensor but for the bias of keys, which adds the same to all scores of a query: no softmax sees it.

    Its gradient is zero, so that what rounding leaves of it decides the direction of AdamW's steps.
    """
    if name.endswith("key.bias"):
        return state[name].new_zeros(1)
    if name.endswith("qkv.bias"):
        query, _, value = state[name].chunk(3)
        return torch.cat([query, value])
    return state[name]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_layouts_train_the_same_weights(trained: Trained, layout: tuple[int, int], run: str) -> None:
    differences = apart(trained[layout][run], trained[1, 1][run])
    assert {of: value for of, value in differences.items() if value > RUNS[run].tolerance} == {}


def test_with_dropout_the_same_layout_trains_the_same(trained: Trained) -> None:
    runs = trained[2, 2]
    assert set(apart(runs["dropout 0"], runs["dropout 1"]).values()) == {0.0}
    assert (runs["dropout 0"]["losses"] - runs["float64"]["losses"][:3]).abs().max() > 1e-3


def test_the_comparison_could_fail(trained: Trained) -> None:
    """Weights moved, queues filled once a global step, and a hinge a sample is another loss."""
    run = trained[1, 1]["float64"]
    assert (run["losses"][:5] - trained[1, 1]["per sample"]["losses"]).abs().max() > 1e-3
    start = tiny_model(queue_size=40).state_dict()
    assert (run["itm_head.weight"] - start["itm_head.weight"]).abs().max() > 1e-3
    assert run["queue_ptr_img"].item() == 20 * IMAGES * PER_IMAGE % 40


def step_of_shares(group: WorkerGroup, accumulation: int, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Weights and queues after steps in which every micro-batch stands alone, dropout on."""
    spec = TrainingSpec(steps=2, lr=1e-3, lr_min=1e-4, warmup_steps=1, accumulation=accumulation)
    model = tiny_model(queue_size=40, dropout=0.1)
    stepper = Stepper(Objectives(model, ObjectiveConfig(), 4), spec, group, seed=3)
    for step, batch in enumerate(batches):
        own = batch.parts(group.size, all_candidates=False)[group.rank]
        stepper.step(own, step)
    return model.state_dict()


def two_workers(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/two", rank=rank, world_size=2)
    batches = [global_batch(step, torch.float64) for step in range(2)]
    state = step_of_shares(WorkerGroup.current(), 1, batches)
    if rank == 0:
        torch.save(state, f"{folder}/two.pt")
    distributed.destroy_process_group()


def test_shares_that_stand_alone_may_be_workers_or_micro_batches(tmp_path: Path) -> None:
    """`batch: share` depends on the number of micro-batches only, dropout included."""
    spawn(two_workers, args=(str(tmp_path),), nprocs=2)
    batches = [global_batch(step, torch.float64) for step in range(2)]
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    one = step_of_shares(WorkerGroup.current(), 2, batches)
    assert {name: value for name, value in apart(one, two).items() if value > 1e-10} == {}
    whole = step_of_shares(WorkerGroup.current(), 1, batches)
    assert apart(one, whole)["itm_head.weight"] > 1e-5


def job_of(folder: Path, *overrides: str) -> TrialJob:
    spec = write_experiment(folder, evaluation={"splits": ["test"], "gallery": 2})
    experiment = make_plan(spec).experiment
    if not experiment.data.table.is_file():
        assert experiment.data.prepare is not None
        prepare(experiment.data.prepare, experiment.data.table, workers=1)
    (job,) = make_plan(spec, overrides).jobs
    return job


def continued(rank: int, folder: str) -> None:
    """The second half of a training, on two workers."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/more", rank=rank, world_size=2)
    run_trial(job_of(Path(folder), *WHOLE), WorkerGroup.current())
    distributed.destroy_process_group()


class Killed(Callback):
    """Ends the process's training after some steps, as a kill does."""

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        if step.steps == 5:
            raise RuntimeError("killed")


def test_a_training_goes_on_with_another_number_of_workers(tmp_path: Path) -> None:
    alone = WorkerGroup(0, 1, torch.device("cpu"))
    (tmp_path / "whole").mkdir()
    undisturbed, job = job_of(tmp_path / "whole", *WHOLE), job_of(tmp_path, *WHOLE)
    assert job.identity == undisturbed.identity == job_of(tmp_path, *WHOLE, "cluster.workers=2").identity
    run_trial(undisturbed, alone)
    with pytest.raises(RuntimeError, match="killed"):
        run_trial(job, alone, extra=[Killed()])
    spawn(continued, args=(str(tmp_path),), nprocs=2)
    assert TrialStatus.read(job.folder).world_sizes == ((0, 1), (4, 2))
    ours, wanted = (load_file(j.model / "model.safetensors") for j in (job, undisturbed))
    assert {name: value for name, value in apart(ours, wanted).items() if value > 1e-5} == {}
