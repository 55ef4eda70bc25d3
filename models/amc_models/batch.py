"""What a training step receives and what it draws."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Pairs of a phrase and its image, image by image; each image has pairs / images of them and is encoded once."""

    images: Float[Tensor, "images 3 height width"]
    """Normalised pixels."""
    input_ids: Int[Tensor, "pairs length"]
    attention_mask: Bool[Tensor, "pairs length"]
    """False at padding."""
    may_be_negative: Bool[Tensor, "pairs candidates"]
    """False where the phrase is known to hold for the image, its own included. Candidates are the images of this batch,
    or, where losses are over the global batch, all of its images."""
    maskable: Bool[Tensor, "pairs length"]
    """Tokens masked language modelling may hide."""
    region_masks: Float[Tensor, "pairs mask_size mask_size"]
    """1 inside the region a phrase describes."""
    has_region: Bool[Tensor, " pairs"]

    @property
    def image_index(self) -> Int[Tensor, " pairs"]:
        """Row of `images` a pair belongs to."""
        images, pairs = self.images.shape[0], self.input_ids.shape[0]
        return torch.arange(images, device=self.images.device).repeat_interleave(pairs // images)

    def parts(self, number: int, *, all_candidates: bool) -> list[Self]:
        """`number` equal micro-batches, in order; each with all candidates, or with its own images only.

        With its own images only, a part stands alone: its texts are as long as its longest. Waits for the device.
        """
        if number == 1:
            return [self]
        images, pairs = len(self.images) // number, len(self.input_ids) // number
        made: list[Self] = []
        for part in range(number):
            own, rows = slice(part * images, (part + 1) * images), slice(part * pairs, (part + 1) * pairs)
            mask = self.attention_mask[rows]
            columns, length = (
                (slice(None), slice(None)) if all_candidates else (own, slice(int(mask.sum(1).max())))
            )
            made.append(
                replace(
                    self,
                    images=self.images[own],
                    input_ids=self.input_ids[rows, length],
                    attention_mask=mask[:, length],
                    may_be_negative=self.may_be_negative[rows, columns],
                    maskable=self.maskable[rows, length],
                    region_masks=self.region_masks[rows],
                    has_region=self.has_region[rows],
                )
            )
        return made

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


@dataclass(frozen=True)
class Negatives:
    """Drawn negatives of image-text matching; -1 where a pair has none."""

    image_of_text: Int[Tensor, " pairs"]
    """For each phrase, the pair whose image does not match it."""
    text_of_image: Int[Tensor, " pairs"]
    """For each pair's image, the pair whose phrase does not match it."""


@dataclass(frozen=True)
class MaskedText:
    """Drawn masks of masked language modelling."""

    input_ids: Int[Tensor, "pairs length"]
    labels: Int[Tensor, "pairs length"]
    """Original id where hidden, -100 elsewhere."""
