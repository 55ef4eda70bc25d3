"""Image-text contrast (ITC) with momentum features, queues and soft targets."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amc_models.precision import full_precision

ALL = slice(None)


class Similarities(NamedTuple):
    """Similarities over temperature; columns are the batch's pairs, then the queue."""

    image_to_text: Float[Tensor, "pairs columns"]
    text_to_image: Float[Tensor, "pairs columns"]


def similarities(
    image: Float[Tensor, "pairs embedding"],
    text: Float[Tensor, "pairs embedding"],
    image_keys: Float[Tensor, "all_pairs embedding"],
    text_keys: Float[Tensor, "all_pairs embedding"],
    image_queue: Float[Tensor, "embedding size"],
    text_queue: Float[Tensor, "embedding size"],
    temperature: Float[Tensor, ""],
) -> Similarities:
    """Features against momentum keys of the batch and of the queue as it was before this step, in full precision."""
    # Two products side by side: the queue is read where it lies instead of being copied behind the batch.
    with full_precision(image.device):
        return Similarities(
            torch.cat([image @ text_keys.T, image @ text_queue], dim=1) / temperature,
            torch.cat([text @ image_keys.T, text @ image_queue], dim=1) / temperature,
        )


def soft_targets(
    momentum: Float[Tensor, "pairs columns"], alpha: float, first: int = 0
) -> Float[Tensor, "pairs columns"]:
    """alpha * softmax(momentum similarities) + (1 - alpha) * one-hot of the own pair, which is column `first` + row."""
    targets = alpha * momentum.softmax(dim=1)
    targets.diagonal(first).add_(1.0 - alpha)
    return targets


def contrastive_terms(
    online: Similarities,
    momentum: Similarities,
    alpha: float,
    excluded: Bool[Tensor, "all_pairs all_pairs"] | None = None,
    rows: slice = ALL,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Soft cross-entropy from image to text and from text to image, mean over pairs.

    `excluded[p, q]`: phrase p is known to hold for the image of pair q (own pair not marked); such columns of the
    batch are taken out of both softmaxes, since they are no negatives. `rows`: which of the batch's pairs the rows of
    the similarities are.
    """
    losses: list[Tensor] = []
    for direction, (scores, keys) in enumerate(zip(online, momentum, strict=True)):
        if excluded is not None:
            # image_to_text has an image a row and a phrase a column: the transpose of `excluded`.
            out = (excluded.T if direction == 0 else excluded)[rows]
            out = torch.nn.functional.pad(out, (0, scores.shape[1] - out.shape[1]))
            scores, keys = scores.masked_fill(out, -1e4), keys.masked_fill(out, -1e4)
        targets = soft_targets(keys, alpha, rows.start or 0)
        losses.append(-(scores.log_softmax(dim=1) * targets).sum(dim=1).mean())
    return losses[0], losses[1]


def contrastive_loss(
    online: Similarities,
    momentum: Similarities,
    alpha: float,
    excluded: Bool[Tensor, "all_pairs all_pairs"] | None = None,
    rows: slice = ALL,
) -> Float[Tensor, ""]:
    """L_itc: mean of the two directions of `contrastive_terms`."""
    image_to_text, text_to_image = contrastive_terms(online, momentum, alpha, excluded, rows)
    return (image_to_text + text_to_image) / 2
