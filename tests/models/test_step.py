"""The whole step at tiny size: gradients, shared images, negatives, queues, masks."""

import dataclasses

import pytest
import torch
from tiny import tiny_batch, tiny_model

from amc_models.errors import InputError
from amc_models.gradcam import heatmaps
from amc_models.momentum import enqueue
from amc_models.objectives.config import AmcLoss, CosineLoss, ObjectiveConfig
from amc_models.objectives.contrastive import Similarities, contrastive_loss
from amc_models.objectives.masked_language import mask_tokens
from amc_models.objectives.matching import draw_negatives, require_negatives
from amc_models.objectives.total import Objectives

PROBED = (
    "visual_encoder.blocks.0.attn.qkv.weight",
    "text_encoder.bert.embeddings.word_embeddings.weight",
    "text_encoder.bert.encoder.layer.1.crossattention.self.query.weight",
    "text_encoder.bert.encoder.layer.1.crossattention.self.key.weight",
    "text_encoder.bert.encoder.layer.2.crossattention.self.value.weight",
    "text_encoder.bert.encoder.layer.2.output.dense.weight",
    "itm_head.weight",
    "temp",
)


@pytest.mark.parametrize("loss", ["itc", "itm", "mlm", "amc"])
@pytest.mark.parametrize(
    "amc",
    [AmcLoss(gradient="loss", mean_hinge="sample"), AmcLoss(), CosineLoss(variant="cosine", normalise=False)],
)
def test_gradients_equal_finite_differences(loss: str, amc: AmcLoss | CosineLoss) -> None:
    model = tiny_model().eval()
    batch = tiny_batch()
    objectives = Objectives(model, ObjectiveConfig(amc=amc), mask_token_id=4).eval()

    # The soft targets of ITC are constants that the temperature shapes; without them its whole gradient is there.
    alpha = 0.0 if loss == "itc" else 0.4

    def value() -> torch.Tensor:
        # A seed whose masks put no [PAD] for a word: the lookup of [PAD] has no gradient, as published.
        torch.manual_seed(5)
        return objectives(batch, alpha)[loss]

    value().backward()
    generator = torch.Generator().manual_seed(1)
    named = dict(model.named_parameters())
    for name in PROBED:
        parameter = named[name]
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        analytic = (gradient * direction).sum().item()
        # Small, because the heatmap has corners (ReLU, min, max) that a difference must not cross.
        h = 1e-7
        with torch.no_grad():
            parameter.add_(h * direction)
        up = value().item()
        with torch.no_grad():
            parameter.sub_(2 * h * direction)
        down = value().item()
        with torch.no_grad():
            parameter.add_(h * direction)
        assert analytic == pytest.approx((up - down) / (2 * h), rel=2e-5, abs=3e-7), f"{loss} d{name}"


def test_amc_reaches_the_layers_behind_the_heatmap() -> None:
    model = tiny_model()
    losses = Objectives(model, ObjectiveConfig(), mask_token_id=4)(tiny_batch(), 0.0)
    losses["amc"].backward()
    behind = dict(model.named_parameters())[
        "text_encoder.bert.encoder.layer.2.crossattention.self.value.weight"
    ].grad
    assert behind is not None
    assert behind.abs().max() > 1e-6


def test_phrases_that_share_an_image_equal_phrases_with_copies_of_it() -> None:
    shared = tiny_batch(images=3, per_image=2)
    copied = dataclasses.replace(
        shared,
        images=shared.images.repeat_interleave(2, dim=0),
        may_be_negative=shared.may_be_negative.repeat_interleave(2, dim=1),
    )
    results = []
    for batch in (shared, copied):
        torch.manual_seed(5)
        results.append(Objectives(tiny_model(), ObjectiveConfig(), mask_token_id=4)(batch, 0.4))
    for name in results[0]:
        assert results[0][name].item() == pytest.approx(results[1][name].item(), abs=1e-10), name


def test_heatmaps_of_evaluation_equal_those_of_training() -> None:
    model = tiny_model().eval()
    batch = tiny_batch()
    objectives = Objectives(model, ObjectiveConfig(amc=AmcLoss(normalise=False)), mask_token_id=4)
    _, trained = objectives.positive(batch, objectives.encode(batch, None))
    texts = [["a red star", "a blue ring on the left"], ["a ring", "a red ring"], ["a star", "a blue star"]]
    evaluated = heatmaps(model, batch.images, texts)
    assert trained is not None
    # Training averages over the padded length, as published; evaluation over the phrase's own.
    own = trained.detach() * batch.input_ids.shape[1] / batch.attention_mask.sum(dim=1)[:, None, None]
    torch.testing.assert_close(evaluated, own, rtol=1e-10, atol=1e-14)


def test_negatives_obey_what_is_allowed() -> None:
    torch.manual_seed(0)
    allowed = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 0, 0]]).bool()
    for _ in range(50):
        drawn = draw_negatives(torch.randn(3, 3), torch.randn(3, 3), allowed)
        assert drawn.image_of_text[0] == 1
        assert drawn.image_of_text[1] in (0, 2)
        assert drawn.image_of_text[2] == -1
        assert drawn.text_of_image[0] == 1
        assert drawn.text_of_image[1] == 0
        assert drawn.text_of_image[2] == 1


def test_hard_negatives_follow_the_similarities() -> None:
    torch.manual_seed(0)
    allowed = ~torch.eye(3, dtype=torch.bool)
    scores = torch.log(torch.tensor([[1.0, 3.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
    drawn = torch.stack([draw_negatives(scores, scores, allowed).image_of_text for _ in range(4000)])
    assert (drawn[:, 0] == 1).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_a_single_image_has_no_negatives() -> None:
    with pytest.raises(InputError, match="at least two different images"):
        require_negatives(torch.zeros(2, 2, dtype=torch.bool))


def test_known_matches_leave_the_contrast() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.5], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0]])
    excluded = torch.zeros(3, 3, dtype=torch.bool)
    excluded[1, 0] = True  # phrase 1 holds for image 0
    loss = contrastive_loss(Similarities(scores, scores), Similarities(scores, scores), 0.0, excluded)
    softmax = torch.log_softmax
    image_rows = [softmax(torch.tensor([2.0, 0.5]), 0)[0], softmax(scores[1], 0)[1], softmax(scores[2], 0)[2]]
    text_rows = [softmax(scores[0], 0)[0], softmax(torch.tensor([3.0, 1.0]), 0)[0], softmax(scores[2], 0)[2]]
    assert loss.item() == pytest.approx(-torch.stack(image_rows + text_rows).sum().item() / 6, abs=1e-6)


def test_queue_wraps_around() -> None:
    queue, pointer = torch.zeros(1, 5), torch.tensor([3])
    enqueue(queue, pointer, torch.tensor([[1.0], [2.0], [3.0]]))
    assert queue.tolist() == [[3.0, 0.0, 0.0, 1.0, 2.0]]
    assert pointer.item() == 1
    enqueue(queue, pointer, torch.arange(10.0, 17.0)[:, None])
    assert queue.tolist() == [[14.0, 15.0, 16.0, 12.0, 13.0]]
    assert pointer.item() == 3


def test_masking_shares() -> None:
    torch.manual_seed(0)
    ids = torch.full((2000, 10), 7)
    maskable = torch.ones_like(ids).bool()
    maskable[:, 0] = False
    masked = mask_tokens(ids, maskable, 0.2, mask_id=4, vocabulary_size=1000)
    chosen = masked.labels != -100
    assert not chosen[:, 0].any()
    assert chosen[:, 1:].float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert (masked.input_ids[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (masked.input_ids[chosen] == 7).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (masked.input_ids[~chosen] == 7).all()
