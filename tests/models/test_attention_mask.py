"""L_mean, L_max and their variants on maps small enough to check by hand."""

import pytest
import torch

from amc_models.objectives.attention_mask import attention_mask_loss, cosine_loss, max_loss, mean_loss
from amc_models.objectives.config import AmcLoss, CosineLoss, MaxLoss, MeanLoss, NoAttentionMask

MAPS = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.2, 0.8], [0.0, 0.4]]])
MASKS = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])


def test_mean_per_sample() -> None:
    # inside 1 and .5, outside 1/3 and .2: hinges max(0, -.667 + .4) = 0 and max(0, -.3 + .4) = .1
    assert mean_loss(MAPS, MASKS, 0.4, "sample").item() == pytest.approx(0.05)


def test_mean_pooled_over_the_batch() -> None:
    # inside (1 + .2 + .8) / 3, outside (0 + .5 + .5 + 0 + .4) / 5
    assert mean_loss(MAPS, MASKS, 0.5, "batch").item() == pytest.approx(1.4 / 5 - 2 / 3 + 0.5)


def test_max() -> None:
    # outside - inside: .5 - 1 and .4 - .8; with margin .45: 0 and .05
    assert max_loss(MAPS, MASKS, 0.45).item() == pytest.approx(0.025)


def test_cosine() -> None:
    first = 1 - 1 / (1.5**0.5)
    second = 1 - 1.0 / ((0.84**0.5) * (2**0.5))
    assert cosine_loss(MAPS, MASKS).item() == pytest.approx((first + second) / 2)


def test_hinge_at_its_corner_and_a_one_pixel_mask() -> None:
    maps = torch.tensor([[[0.75, 0.25], [0.0, 0.0]]])
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert max_loss(maps, mask, 0.5).item() == 0.0
    assert max_loss(maps, mask, 0.625).item() == 0.125


def test_a_mask_of_ones_has_no_outside() -> None:
    maps = MAPS.clone().requires_grad_()
    everywhere = torch.ones_like(MASKS)
    # means inside: .5 and .35; nothing outside: 0
    assert mean_loss(maps, everywhere, 0.4, "sample").item() == pytest.approx(0.025)
    assert mean_loss(maps, everywhere, 0.5, "batch").item() == pytest.approx(0.5 - 0.425)
    assert max_loss(maps, everywhere, 0.9).item() == pytest.approx(0.05)
    mean_loss(maps, everywhere, 0.5, "batch").backward()
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad, torch.full_like(MAPS, -1 / 8))


def test_variants_combine_the_two() -> None:
    mean, peak = mean_loss(MAPS, MASKS, 0.3, "batch"), max_loss(MAPS, MASKS, 0.7)
    both = AmcLoss(lambda_1=0.25, lambda_2=0.5, delta_1=0.3, delta_2=0.7)
    assert attention_mask_loss(MAPS, MASKS, both).item() == pytest.approx((0.25 * mean + 0.5 * peak).item())
    assert attention_mask_loss(MAPS, MASKS, MeanLoss(variant="mean", delta_1=0.3)) == mean
    assert attention_mask_loss(MAPS, MASKS, MaxLoss(variant="max", delta_2=0.7)) == peak
    assert attention_mask_loss(MAPS, MASKS, CosineLoss(variant="cosine")) == cosine_loss(MAPS, MASKS)
    assert attention_mask_loss(MAPS, MASKS, NoAttentionMask(variant="none")).item() == 0.0
