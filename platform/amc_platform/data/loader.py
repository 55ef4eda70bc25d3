"""Training batches as a function of seed and step alone, so that a run continues exactly where it stopped."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from amc_models.batch import Batch
from amc_models.errors import InputError
from amc_models.tokenizer import SPECIAL_TOKENS, Tokenizer
from amc_models.vision import normalise_pixels
from amc_platform.data.table import ImageRow, Phrase
from amc_platform.data.transforms import decode, mask_of, resize, swap_sides

FUNCTION_WORDS = ("a", "an", "the", "on", "at", "to", "of", "in", "with", "and")


@dataclass(frozen=True)
class LoaderConfig:
    """What a batch is made of. `images_per_batch` counts over all workers."""

    images_per_batch: int
    phrases_per_image: int
    image_size: int
    mask_size: int
    max_tokens: int
    flip: Literal["off", "plain", "swap"]
    regions: Literal["one", "union"]
    mask_words: Literal["all", "content"]
    false_negatives: Literal["exclude", "keep"]
    seed: int


class TrainingLoader:
    """Draws batches for one worker out of `world_size`."""

    def __init__(
        self,
        rows: Sequence[ImageRow],
        tokenizer: Tokenizer,
        config: LoaderConfig,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(rows) < config.images_per_batch:
            raise InputError(
                f"data.images_per_batch: {config.images_per_batch} images asked for, "
                f"the training split has {len(rows)}; make the batch smaller"
            )
        self.rows, self.tokenizer, self.config = rows, tokenizer, config
        self.rank, self.world_size = rank, world_size
        words = [*SPECIAL_TOKENS, *(FUNCTION_WORDS if config.mask_words == "content" else ())]
        words = [word for word in words if word != "[UNK]"]
        self._never_masked = torch.tensor([tokenizer.ids[word] for word in words if word in tokenizer.ids])

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of steps `start` to `stop` - 1; the next one is made while the current one is used."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.batch, start)
            for step in range(start, stop):
                batch = future.result()
                if step + 1 < stop:
                    future = pool.submit(self.batch, step + 1)
                yield batch

    def images_of(self, step: int) -> Int[np.ndarray, " images"]:
        """Row numbers of this worker's images at `step`: every epoch is one permutation, incomplete batches dropped."""
        per_batch = self.config.images_per_batch
        epoch, position = divmod(step, len(self.rows) // per_batch)
        order = np.random.default_rng([self.config.seed, 0, epoch]).permutation(len(self.rows))
        batch = order[position * per_batch : (position + 1) * per_batch]
        share = per_batch // self.world_size
        return batch[self.rank * share : (self.rank + 1) * share]

    def batch(self, step: int) -> Batch:
        """The batch of `step` for this worker."""
        config = self.config
        rows = [self.rows[i] for i in self.images_of(step)]
        rng = np.random.default_rng([config.seed, 1, step, self.rank])
        chosen = [self._choose(row, rng) for row in rows]
        flipped = rng.random(len(rows)) < (0.5 if config.flip != "off" else 0.0)
        images = torch.stack([resize(decode(row), config.image_size) for row in rows])
        masks = torch.stack(
            [
                self._mask(row, phrase, rng)
                for row, phrases in zip(rows, chosen, strict=True)
                for phrase in phrases
            ]
        )
        index = torch.arange(len(rows)).repeat_interleave(config.phrases_per_image)
        pair_flipped = torch.from_numpy(flipped)[index]
        images = torch.where(torch.from_numpy(flipped)[:, None, None, None], images.flip(-1), images)
        masks = torch.where(pair_flipped[:, None, None], masks.flip(-1), masks)
        swapped = flipped & (config.flip == "swap")
        texts = [
            swap_sides(phrase.text) if swap else phrase.text
            for phrases, swap in zip(chosen, swapped, strict=True)
            for phrase in phrases
        ]
        tokens = self.tokenizer.batch(texts, max_length=config.max_tokens)
        return Batch(
            images=normalise_pixels(images),
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            may_be_negative=self._may_be_negative(rows, texts, swapped, index),
            maskable=~torch.isin(tokens.input_ids, self._never_masked),
            region_masks=masks,
            has_region=masks.flatten(1).any(dim=1),
        )

    def _choose(self, row: ImageRow, rng: np.random.Generator) -> list[Phrase]:
        """`phrases_per_image` phrases, all different where the image has so many."""
        wanted, there = self.config.phrases_per_image, len(row.phrases)
        rounds = [rng.permutation(there) for _ in range(-(-wanted // there))]
        return [row.phrases[i] for i in np.concatenate(rounds)[:wanted]]

    def _mask(self, row: ImageRow, phrase: Phrase, rng: np.random.Generator) -> Tensor:
        boxes = phrase.boxes
        if self.config.regions == "one":
            boxes = (boxes[int(rng.integers(len(boxes)))],)
        return mask_of(boxes, row, self.config.mask_size)

    def _may_be_negative(
        self, rows: Sequence[ImageRow], texts: Sequence[str], swapped: np.ndarray, index: Tensor
    ) -> Bool[Tensor, "pairs images"]:
        own = index[:, None] == torch.arange(len(rows))
        if self.config.false_negatives == "keep":
            return ~own
        columns: list[list[bool]] = []
        for row, swap in zip(rows, swapped, strict=True):
            true = row.also_true | {phrase.text for phrase in row.phrases}
            # A mirrored image makes the mirrored text true, so the text is mirrored back to be looked up.
            columns.append([(swap_sides(text) if swap else text) not in true for text in texts])
        return torch.tensor(columns).T & ~own
