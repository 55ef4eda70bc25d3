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
    regions: Int[Tensor, " regions"] | None = None
    """Pairs with a region, where they were looked for before the batch was sent to a GPU, which would be waited for."""

    @property
    def with_region(self) -> Int[Tensor, " regions"]:
        """Pairs with a region."""
        return self.has_region.nonzero()[:, 0] if self.regions is None else self.regions

    @property
    def image_index(self) -> Int[Tensor, " pairs"]:
        """Row of `images` a pair belongs to."""
        images, pairs = self.images.shape[0], self.input_ids.shape[0]
        return torch.arange(images, device=self.images.device).repeat_interleave(pairs // images)

    def parts(self, number: int, *, all_candidates: bool) -> list[Self]:
        """`number` equal micro-batches, in order; each with all candidates, or with its own images only.

        With its own images only, a part stands alone: its texts are as long as its longest. To be called before the
        batch is sent to a GPU, which would have to be waited for.
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
                    regions=None,
                )
            )
        return made

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        located = replace(self, regions=self.with_region)
        return replace(self, **{f.name: sent(getattr(located, f.name), device) for f in fields(self)})


@dataclass(frozen=True)
class Negatives:
    """Drawn negatives of image-text matching; -1 where a pair has none."""

    image_of_text: Int[Tensor, " pairs"]
    """For each phrase, the pair whose image does not match it."""
    text_of_image: Int[Tensor, " pairs"]
    """For each pair's image, the pair whose phrase does not match it."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return replace(
            self,
            image_of_text=sent(self.image_of_text, device),
            text_of_image=sent(self.text_of_image, device),
        )


@dataclass(frozen=True)
class HiddenWords:
    """Where the hidden words of a batch are."""

    positions: Int[Tensor, "pairs rows"] | None
    """Of each text, those of its hidden words first; as many as the text with the most has. None for all positions."""
    pairs: Int[Tensor, " words"]
    rows: Int[Tensor, " words"]
    """Of each hidden word, its pair and its place among that pair's `positions`."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        positions = None if self.positions is None else sent(self.positions, device)
        return replace(
            self, positions=positions, pairs=sent(self.pairs, device), rows=sent(self.rows, device)
        )


@dataclass(frozen=True)
class MaskedText:
    """Drawn masks of masked language modelling."""

    input_ids: Int[Tensor, "pairs length"]
    labels: Int[Tensor, "pairs length"]
    """Original id where hidden, -100 elsewhere."""
    hidden: HiddenWords | None = None
    """Where `labels` are hidden words, if that was looked for before they were sent to a GPU."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return replace(
            self,
            input_ids=sent(self.input_ids, device),
            labels=sent(self.labels, device),
            hidden=self.hidden and self.hidden.to(device),
        )


@dataclass(frozen=True)
class Draws:
    """What a step draws at random, where it was drawn before (or recorded); dropout apart."""

    negatives: Negatives | None = None
    masked: MaskedText | None = None

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return replace(
            self,
            negatives=self.negatives and self.negatives.to(device),
            masked=self.masked and self.masked.to(device),
        )


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; nothing waits for a GPU, which copies by itself what lies in page-locked memory."""
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
