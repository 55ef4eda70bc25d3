"""Attention mask consistency (AMC): the heatmap of a phrase belongs inside the region the phrase describes.

M is the region mask, H the heatmap at the mask's size, both `pairs height width`.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.objectives.config import (
    AmcLoss,
    AttentionMaskLoss,
    CosineLoss,
    MaxLoss,
    MeanLoss,
    NoAttentionMask,
)

Maps = Float[Tensor, "pairs height width"]


class Sums(NamedTuple):
    """What the pooled mean is made of; sums of two batches add up to those of both."""

    inside: Float[Tensor, ""]
    outside: Float[Tensor, ""]
    pixels_inside: Float[Tensor, ""]
    pixels_outside: Float[Tensor, ""]

    @property
    def gap(self) -> Float[Tensor, ""]:
        """Mean outside minus mean inside; the mean over no pixel at all is 0."""
        return _over(self.outside, self.pixels_outside) - _over(self.inside, self.pixels_inside)


class Pool(NamedTuple):
    """The global batch, of which the maps at hand are one share of `shares` equal ones."""

    shares: int
    regions: Float[Tensor, ""]
    """Pairs with a region, over all shares."""
    sums: Sums
    """Over all shares, without gradient."""


def pooled_sums(heatmaps: Maps, masks: Maps) -> Sums:
    """Sums over all pixels of the batch."""
    outside = 1 - masks
    return Sums((heatmaps * masks).sum(), (heatmaps * outside).sum(), masks.sum(), outside.sum())


def pooled_mean_loss(heatmaps: Maps, masks: Maps, delta_1: float, pool: Pool) -> Float[Tensor, ""]:
    """This share's part of L_mean with one hinge over the global batch: the mean of the parts is the loss of all.

    The hinge is open or shut for all shares alike; through an open one, the gradient of a sum is the sum of gradients.
    """
    own, whole = pooled_sums(heatmaps, masks), pool.sums
    gap = Sums(own.inside, own.outside, whole.pixels_inside, whole.pixels_outside).gap
    is_open = (pool.sums.gap + delta_1 >= 0) & (pool.regions > 0)
    return (pool.shares * gap + delta_1) * is_open


def _over(total: Tensor, count: Tensor) -> Tensor:
    return total / torch.where(count > 0, count, 1.0)


def _mean(terms: Float[Tensor, "*pairs"], pool: Pool | None) -> Float[Tensor, ""]:
    """Mean over pairs; of a pool's, this share's part of it."""
    if pool is None:
        return terms.mean()
    return terms.sum() * pool.shares / pool.regions.clamp(min=1)


def mean_loss(
    heatmaps: Maps,
    masks: Maps,
    delta_1: float,
    hinge: Literal["batch", "sample"],
    pool: Pool | None = None,
) -> Float[Tensor, ""]:
    """L_mean (eq. 7): max(0, mean of H outside M - mean of H inside M + Δ1).

    `sample`: the hinge of each pair, then their mean (paper). `batch`: one hinge on means pooled over all pixels
    of the batch (published), where large regions weigh more. The mean over no pixel at all (a region that covers
    its image has no outside) is 0, as L_max has it, where the published code divides by zero.
    """
    if hinge == "batch" and pool is not None:
        return pooled_mean_loss(heatmaps, masks, delta_1, pool)
    dims = (0, 1, 2) if hinge == "batch" else (1, 2)
    inside, outside = (
        (heatmaps * where).sum(dims) / torch.where((pixels := where.sum(dims)) > 0, pixels, 1.0)
        for where in (masks, 1 - masks)
    )
    return _mean((outside - inside + delta_1).clamp(min=0), pool)


def max_loss(heatmaps: Maps, masks: Maps, delta_2: float, pool: Pool | None = None) -> Float[Tensor, ""]:
    """L_max (eq. 8): mean over pairs of max(0, max of H outside M - max of H inside M + Δ2)."""
    inside = (heatmaps * masks).amax(dim=(1, 2))
    outside = (heatmaps * (1 - masks)).amax(dim=(1, 2))
    return _mean((outside - inside + delta_2).clamp(min=0), pool)


def cosine_loss(heatmaps: Maps, masks: Maps, pool: Pool | None = None) -> Float[Tensor, ""]:
    """Mean over pairs of 1 - cos(H, M)."""
    cosines = torch.nn.functional.cosine_similarity(heatmaps.flatten(1), masks.flatten(1), dim=1)
    return _mean(1 - cosines, pool)


def attention_mask_loss(
    heatmaps: Maps, masks: Maps, config: AttentionMaskLoss, pool: Pool | None = None
) -> Float[Tensor, ""]:
    """The variant `config` names, unweighted; AMC itself is λ1·L_mean + λ2·L_max (eq. 9).

    With a `pool`, this share's part of the loss of the global batch: the mean of the parts is that loss.
    """
    match config:
        case AmcLoss():
            mean = mean_loss(heatmaps, masks, config.delta_1, config.mean_hinge, pool)
            return config.lambda_1 * mean + config.lambda_2 * max_loss(heatmaps, masks, config.delta_2, pool)
        case MeanLoss():
            return mean_loss(heatmaps, masks, config.delta_1, config.mean_hinge, pool)
        case MaxLoss():
            return max_loss(heatmaps, masks, config.delta_2, pool)
        case CosineLoss():
            return cosine_loss(heatmaps, masks, pool)
        case NoAttentionMask():
            return heatmaps.new_zeros(())
