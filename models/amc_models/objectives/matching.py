"""Image-text matching (ITM) with negatives drawn from the batch."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amc_models.batch import Negatives
from amc_models.errors import InputError


def negative_weights(
    scores: Float[Tensor, "pairs candidates"], allowed: Bool[Tensor, "pairs candidates"]
) -> Float[Tensor, "pairs candidates"]:
    """Softmax of `scores` over the allowed columns; rows without any are all zero."""
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(dim=1)
    return weights.nan_to_num(0.0)


def require_negatives(allowed: Bool[Tensor, "pairs candidates"]) -> None:
    """Raise InputError where no pair has a negative (a batch of one image). Waits for a GPU on which `allowed` lies."""
    if not allowed.any():
        raise InputError(
            "data.images_per_batch: no pair of this batch has a negative for image-text matching; "
            "a worker needs at least two different images a step"
        )


@torch.no_grad()
def draw_negatives(
    image_to_text: Float[Tensor, "pairs candidates"],
    text_to_image: Float[Tensor, "pairs candidates"],
    allowed: Bool[Tensor, "pairs candidates"],
    allowed_texts: Bool[Tensor, "pairs candidates"] | None = None,
    uniform: Float[Tensor, "2 pairs"] | None = None,
) -> Negatives:
    """One negative image a phrase and one negative phrase an image, the whole batch at once.

    `allowed[p, q]`: phrase p may be a negative for the image of pair q; `allowed_texts[p, q]`: phrase q may be one for
    the image of pair p (default: the transpose of `allowed`). Drawn by similarity; equal ones draw evenly. `uniform`:
    one number in [0, 1) a draw, instead of torch's own. See `require_negatives`.
    """
    return Negatives(
        image_of_text=_draw(
            negative_weights(text_to_image, allowed), None if uniform is None else uniform[0]
        ),
        text_of_image=_draw(
            negative_weights(image_to_text, allowed.T if allowed_texts is None else allowed_texts),
            None if uniform is None else uniform[1],
        ),
    )


def _draw(
    weights: Float[Tensor, "pairs candidates"], uniform: Float[Tensor, " pairs"] | None
) -> Int[Tensor, " pairs"]:
    possible = weights.sum(dim=1) > 0
    weights = torch.where(possible[:, None], weights, 1.0)
    if uniform is None:
        # What torch.multinomial does for one draw, without its checks, which wait for a GPU.
        drawn = (weights / torch.empty_like(weights).exponential_()).argmax(dim=1)
    else:
        # The first candidate up to which the weights sum to more than the number drawn.
        ladder = weights.double().cumsum(dim=1)
        drawn = torch.searchsorted(ladder, uniform.double()[:, None] * ladder[:, -1:], right=True)[:, 0]
    return torch.where(possible, drawn, -1)


def matching_loss(
    positive: Float[Tensor, "pairs 2"],
    negative: Float[Tensor, "two_pairs 2"],
    exists: Bool[Tensor, " two_pairs"],
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """L_itm: cross-entropy, mean over all positives and all negatives that exist; class 1 is a match.

    With `count`, the sum over them divided by that: the number that a share of the global batch has on average.
    """
    logits = torch.cat([positive, negative])
    labels = torch.cat([torch.ones_like(positive[:, 0]).long(), torch.where(exists, 0, -100)])
    return (
        F.cross_entropy(logits, labels)
        if count is None
        else F.cross_entropy(logits, labels, reduction="sum") / count
    )
