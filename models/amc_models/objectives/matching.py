"""Image-text matching (ITM) with negatives drawn from the batch."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amc_models.batch import Negatives
from amc_models.errors import InputError


def negative_weights(
    scores: Float[Tensor, "pairs pairs"], allowed: Bool[Tensor, "pairs pairs"]
) -> Float[Tensor, "pairs pairs"]:
    """Softmax of `scores` over the allowed columns; rows without any are all zero."""
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(dim=1)
    return weights.nan_to_num(0.0)


@torch.no_grad()
def draw_negatives(
    image_to_text: Float[Tensor, "pairs pairs"],
    text_to_image: Float[Tensor, "pairs pairs"],
    allowed: Bool[Tensor, "pairs pairs"],
) -> Negatives:
    """One negative image a phrase and one negative phrase an image, the whole batch at once.

    `allowed[p, q]`: phrase p may be a negative for the image of pair q. Drawn by similarity; equal ones draw evenly.
    Raises InputError where no pair has a negative (a batch of one image).
    """
    if not allowed.any():
        raise InputError(
            "data.images_per_batch: no pair of this batch has a negative for image-text matching; "
            "a worker needs at least two different images a step"
        )
    return Negatives(
        image_of_text=_draw(negative_weights(text_to_image, allowed)),
        text_of_image=_draw(negative_weights(image_to_text, allowed.T)),
    )


def _draw(weights: Float[Tensor, "pairs pairs"]) -> Int[Tensor, " pairs"]:
    possible = weights.sum(dim=1) > 0
    drawn = torch.multinomial(torch.where(possible[:, None], weights, 1.0), 1)[:, 0]
    return torch.where(possible, drawn, -1)


def matching_loss(
    positive: Float[Tensor, "pairs 2"],
    negative: Float[Tensor, "two_pairs 2"],
    exists: Bool[Tensor, " two_pairs"],
) -> Float[Tensor, ""]:
    """L_itm: cross-entropy, mean over all positives and all negatives that exist; class 1 is a match."""
    logits = torch.cat([positive, negative])
    labels = torch.cat([torch.ones_like(positive[:, 0]).long(), torch.where(exists, 0, -100)])
    return F.cross_entropy(logits, labels)
