"""The plain reference of the benchmark: equal to the recorded numbers, and to the fast step in losses and gradients."""

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny import tiny_batch, tiny_model

from amc_models.albef import Albef
from amc_models.batch import Batch
from amc_models.benchmarks import train
from amc_models.benchmarks.golden import GoldenCase
from amc_models.benchmarks.reference import ReferenceObjectives
from amc_models.benchmarks.synthetic import fixed_draws
from amc_models.benchmarks.verdict import compare
from amc_models.errors import InputError
from amc_models.objectives.config import AmcLoss, CosineLoss, MeanLoss, NoAttentionMask, ObjectiveConfig
from amc_models.objectives.total import Objectives

RECORDED = {"itc": "loss_ita", "itm": "loss_itm", "mlm": "loss_mlm", "amc": "loss_amc", "total": "loss_total"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recorded_losses(shared_dir: Path, dtype: torch.dtype) -> None:
    for path in sorted((shared_dir / "golden").glob("tiny_*.json")):
        case = GoldenCase(path, dtype)
        config = ObjectiveConfig(distillation_axis="sequence")
        reference = ReferenceObjectives(case.model, config, case.mask_id)
        losses = reference(case.batch, case.alpha, case.draws)
        reference.update_queues()
        model = case.model
        computed = {recorded: losses[ours] for ours, recorded in RECORDED.items()}
        computed |= {
            "queue_image_after": model.image_queue,
            "queue_text_after": model.text_queue,
            "queue_ptr_img_after": model.queue_ptr_img,
            "momentum_after.vision_proj_m.weight": model.vision_proj_m.weight,
        }
        for name, value in computed.items():
            deviation = case.facts["tensors"].get(name, {}).get("fp32_dev", 0.0)
            verdict = compare(case.name, name, value, case.expected[name], deviation)
            assert verdict.ok, verdict


def gradients(
    kind: type[Objectives] | type[ReferenceObjectives], config: ObjectiveConfig, batch: Batch
) -> tuple[dict[str, float], dict[str, torch.Tensor], Albef]:
    model = tiny_model()
    # Averages of their own, so that their update is seen.
    for average, _ in model.momentum_pairs:
        for parameter in average.parameters():
            parameter.data *= 1.01
    objectives = kind(model, config, 4)
    losses = objectives(batch, 0.4, fixed_draws(batch, 4))
    losses["total"].backward()
    objectives.update_queues()
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
    return {name: loss.item() for name, loss in losses.items()}, found, model


@pytest.mark.parametrize(
    "config",
    [
        ObjectiveConfig(),
        ObjectiveConfig(distillation_axis="sequence", amc=AmcLoss(gradient="loss", mean_hinge="sample")),
        ObjectiveConfig(same_image_negatives="keep", amc=CosineLoss(variant="cosine", normalise=False)),
        ObjectiveConfig(itc=0.3, itm=2.0, amc=MeanLoss(variant="mean", delta_1=0.1, weight=3.0)),
        ObjectiveConfig(amc=NoAttentionMask(variant="none")),
    ],
)
def test_the_fast_step_equals_the_plain_one(config: ObjectiveConfig) -> None:
    batch = tiny_batch(images=3, per_image=2)
    # One phrase is known to hold for another image as well.
    batch.may_be_negative[1, 2] = False
    plain, wanted, left = gradients(ReferenceObjectives, config, batch)
    fast, got, right = gradients(Objectives, config, batch)
    assert fast == pytest.approx(plain, rel=1e-12)
    for name, gradient in wanted.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-8, atol=1e-12, msg=name)
    assert sum(gradient.abs().sum().item() for gradient in wanted.values()) > 1
    state = right.state_dict()
    for name, value in left.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-12, atol=1e-15, msg=name)


def test_both_draw_allowed_negatives() -> None:
    batch = tiny_batch(images=2, per_image=2)
    # The second phrase of the first image holds for the other one too: it has no negative, and is none.
    batch = dataclasses.replace(batch, may_be_negative=batch.may_be_negative.clone())
    batch.may_be_negative[1] = False
    reference = ReferenceObjectives(tiny_model(), ObjectiveConfig(), 4)
    allowed = batch.may_be_negative[:, batch.image_index]
    drawn = [reference._draw(torch.randn(4, 9), torch.randn(4, 9), allowed) for _ in range(20)]
    assert {tuple((negatives.image_of_text >= 0).tolist()) for negatives in drawn} == {
        (True, False, True, True)
    }
    assert {int(negatives.text_of_image[2]) for negatives in drawn} == {0}
    assert {int(negatives.text_of_image[0]) for negatives in drawn} == {2, 3}


def test_a_network_whose_weights_are_lost_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "LEARNING_RATE", float("inf"))
    with pytest.raises(
        InputError, match=r"weights are not finite after 1 steps of each, so that no time counts"
    ):
        train.TrainBenchmark("small", images=2, repeats=1).run()
