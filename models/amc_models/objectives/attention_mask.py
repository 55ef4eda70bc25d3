"""Attention mask consistency (AMC): the heatmap of a phrase belongs inside the region the phrase describes.

M is the region mask, H the heatmap at the mask's size, both `pairs height width`.
"""

from typing import Literal

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


def mean_loss(
    heatmaps: Maps, masks: Maps, delta_1: float, hinge: Literal["batch", "sample"]
) -> Float[Tensor, ""]:
    """L_mean (eq. 7): max(0, mean of H outside M - mean of H inside M + Δ1).

    `sample`: the hinge of each pair, then their mean (paper). `batch`: one hinge on means pooled over all pixels
    of the batch (published), where large regions weigh more. The mean over no pixel at all (a region that covers
    its image has no outside) is 0, as L_max has it, where the published code divides by zero.
    """
    dims = (0, 1, 2) if hinge == "batch" else (1, 2)
    inside, outside = (
        (heatmaps * where).sum(dims) / torch.where((pixels := where.sum(dims)) > 0, pixels, 1.0)
        for where in (masks, 1 - masks)
    )
    return (outside - inside + delta_1).clamp(min=0).mean()


def max_loss(heatmaps: Maps, masks: Maps, delta_2: float) -> Float[Tensor, ""]:
    """L_max (eq. 8): mean over pairs of max(0, max of H outside M - max of H inside M + Δ2)."""
    inside = (heatmaps * masks).amax(dim=(1, 2))
    outside = (heatmaps * (1 - masks)).amax(dim=(1, 2))
    return (outside - inside + delta_2).clamp(min=0).mean()


def cosine_loss(heatmaps: Maps, masks: Maps) -> Float[Tensor, ""]:
    """Mean over pairs of 1 - cos(H, M)."""
    return (1 - torch.nn.functional.cosine_similarity(heatmaps.flatten(1), masks.flatten(1), dim=1)).mean()


def attention_mask_loss(heatmaps: Maps, masks: Maps, config: AttentionMaskLoss) -> Float[Tensor, ""]:
    """The variant `config` names, unweighted; AMC itself is λ1·L_mean + λ2·L_max (eq. 9)."""
    match config:
        case AmcLoss():
            mean = mean_loss(heatmaps, masks, config.delta_1, config.mean_hinge)
            return config.lambda_1 * mean + config.lambda_2 * max_loss(heatmaps, masks, config.delta_2)
        case MeanLoss():
            return mean_loss(heatmaps, masks, config.delta_1, config.mean_hinge)
        case MaxLoss():
            return max_loss(heatmaps, masks, config.delta_2)
        case CosineLoss():
            return cosine_loss(heatmaps, masks)
        case NoAttentionMask():
            return heatmaps.new_zeros(())
