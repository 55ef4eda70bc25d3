"""The global batch, as the shares it is trained in have to know it (`objective.batch: global`).

A share is one micro-batch of one worker. Shares are equal in size and ordered by worker, then by micro-batch: the
global batch is their concatenation. A share trains its own pairs, and takes of the others what its losses need:
momentum features (contrast), words and pixels (negatives, which it encodes itself, so that their gradient arises
here), and counts (the means). All of that carries no gradient, so that the mean over shares of the shares' losses has
exactly the gradient of the global batch's loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amc_models.batch import Batch
from amc_models.errors import InputError
from amc_models.momentum import gather_ranks
from amc_models.objectives.attention_mask import Pool, Sums


@dataclass(frozen=True)
class Whole:
    """What is the same for every share."""

    shares: int
    images: Float[Tensor, "all_images 3 height width"]
    input_ids: Int[Tensor, "all_pairs length"]
    attention_mask: Bool[Tensor, "all_pairs length"]
    may_be_negative: Bool[Tensor, "all_pairs all_images"]
    regions: Float[Tensor, ""]
    """Pairs with a region."""
    uniform: Float[Tensor, "2 all_pairs"]
    """Numbers by which negatives are drawn: images of phrases, phrases of images."""
    words: Float[Tensor, ""] | None = None
    """Hidden words a share has on average, where they are counted; of no word at all, the mean is 0."""
    keys: tuple[Float[Tensor, "all_pairs embedding"], Float[Tensor, "all_pairs embedding"]] | None = None
    """Momentum features of images and texts, where a loss reads them."""
    sums: Sums | None = None
    """Of the pooled mean of AMC, where it is read."""

    @property
    def image_index(self) -> Int[Tensor, " all_pairs"]:
        """Row of `images` a pair belongs to."""
        images, pairs = len(self.images), len(self.input_ids)
        return torch.arange(images, device=self.images.device).repeat_interleave(pairs // images)

    @property
    def pool(self) -> Pool:
        """The batch as AMC sees it; without sums, nothing is pooled."""
        return Pool(self.shares, self.regions, self.sums or Sums(*[self.regions] * 4))


def gather(own: Sequence[Batch], uniform: Float[Tensor, "2 all_pairs"]) -> Whole:
    """The whole of all workers' micro-batches, `own` being this worker's; `uniform` as Whole has it.

    Raises InputError where there is but one image, which has no negative.
    """
    fields = ("images", "input_ids", "attention_mask", "may_be_negative")
    every: dict[str, Any] = {
        name: gather_ranks(torch.cat([getattr(batch, name) for batch in own])) for name in fields
    }
    regions = gather_ranks(torch.cat([batch.has_region for batch in own]))
    images = len(every["images"])
    if images < 2:
        raise InputError(
            "data.images_per_batch: no pair of one image has a negative; a step needs two at least"
        )
    shares = images // len(own[0].images)
    return Whole(shares, **every, regions=regions.sum().float(), uniform=uniform)


@dataclass(frozen=True)
class Share:
    """One micro-batch among all."""

    whole: Whole
    number: int

    @property
    def pairs(self) -> slice:
        """Its rows among all pairs."""
        size = len(self.whole.input_ids) // self.whole.shares
        return slice(self.number * size, (self.number + 1) * size)
