"""Training batches as a function of seed and step alone, so that a run continues exactly where it stopped.

What is drawn for an image (phrases, boxes, mirror, colours) follows from seed, epoch and image: the same global batch
has the same content whatever the number of workers and of threads.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from amc_models.batch import Batch
from amc_models.errors import InputError
from amc_models.tokenizer import SPECIAL_TOKENS, Tokenizer
from amc_platform.data.augmentation import Flip, Preset, make_view
from amc_platform.data.boxes import Box, area, clamp
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.sampler import Sampler, SamplerState
from amc_platform.data.transforms import pixels_of, swap_sides

FUNCTION_WORDS = ("a", "an", "the", "on", "at", "to", "of", "in", "with", "and")


@dataclass(frozen=True)
class LoaderConfig:
    """What a batch is made of. `images_per_batch` counts over all workers."""

    images_per_batch: int
    phrases_per_image: int
    image_size: int
    mask_size: int
    max_tokens: int
    preset: Preset
    flip: Flip
    regions: Literal["one", "union"]
    empty_regions: Literal["error", "skip"]
    mask_words: Literal["all", "content"]
    false_negatives: Literal["exclude", "keep"]
    seed: int
    whole_batch: bool = False
    """Whether negatives may come from all workers' images; texts are then padded to `max_tokens`, so that what a pair
    is does not depend on its neighbours."""
    threads: int = 1
    """Threads that make batches ahead; one batch more than threads is under way."""
    pin_memory: bool = False
    """Whether batches lie in page-locked memory, from which a GPU copies without waiting."""


class Drawn(NamedTuple):
    """What is said of an image this time."""

    row: ImageRow
    texts: list[str]
    swapped: bool
    """Whether left and right changed places in `texts`."""


class Sample(NamedTuple):
    """An image of a batch, and a region mask for each of its texts."""

    drawn: Drawn
    image: Float32[np.ndarray, "3 size size"]
    masks: list[Float32[np.ndarray, "mask_size mask_size"]]


@runtime_checkable
class Rows(Protocol):
    """Rows by number; several threads ask at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ImageRow: ...


class TrainingLoader:
    """Draws batches for one worker out of `world_size`."""

    def __init__(
        self,
        rows: Rows,
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
        self.sampler = Sampler(len(rows), config.images_per_batch, config.seed, rank, world_size)
        self.waited_s = 0.0
        """Seconds that `batches` kept its caller waiting so far."""
        self._view = make_view(config.preset, config.image_size, config.mask_size)
        words = [*SPECIAL_TOKENS, *(FUNCTION_WORDS if config.mask_words == "content" else ())]
        words = [word for word in words if word != "[UNK]"]
        self._never_masked = torch.tensor([tokenizer.ids[word] for word in words if word in tokenizer.ids])

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of steps `start` to `stop` - 1, made ahead in background threads."""
        threads = self.config.threads
        ahead: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(threads, "loader") as pool:
            try:
                for step in range(start, stop):
                    for further in range(step + len(ahead), min(step + threads + 1, stop)):
                        ahead.append(pool.submit(self.batch, further))
                    asked = time.perf_counter()
                    batch = ahead.popleft().result()
                    self.waited_s += time.perf_counter() - asked
                    yield batch
            finally:
                # A caller that stops early does not wait for batches that are not begun.
                pool.shutdown(cancel_futures=True)

    def batch(self, step: int) -> Batch:
        """The batch of `step` for this worker.

        Raises InputError for an image that cannot be read and, where `empty_regions` says so, for an empty region.
        """
        config, state = self.config, self.sampler.state(step)
        share = self.sampler.share(state).tolist()
        # PyTorch's memory is that of the batch before; NumPy's is fresh each time, which costs as much as decoding.
        images = torch.empty(len(share), 3, config.image_size, config.image_size)
        masks = torch.empty(len(share), config.phrases_per_image, config.mask_size, config.mask_size)
        drawn: list[Drawn] = []
        for sample, image, of_image in zip(
            (self.sample(state, image) for image in share), images.numpy(), masks.numpy(), strict=True
        ):
            image[:], of_image[:] = sample.image, sample.masks
            drawn.append(sample.drawn)
        texts = [text for of_image in drawn for text in of_image.texts]
        tokens = self.tokenizer.batch(texts, max_length=config.max_tokens, pad=config.whole_batch)
        batch = Batch(
            images=images,
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            may_be_negative=self._may_be_negative(state, drawn, texts),
            maskable=~torch.isin(tokens.input_ids, self._never_masked),
            region_masks=masks.flatten(0, 1),
            # PyTorch's `any` of floats takes ten times as long.
            has_region=torch.from_numpy(masks.numpy().max(axis=(2, 3)).ravel() > 0),
        )
        if self.config.pin_memory:
            tensors = {f.name: getattr(batch, f.name) for f in fields(batch) if f.name != "regions"}
            return replace(batch, **{name: tensor.pin_memory() for name, tensor in tensors.items()})
        return batch

    def image_ids(self, step: int) -> list[str]:
        """Ids of this worker's images in the batch of `step`."""
        return [self.rows[image].image_id for image in self.sampler.share(self.sampler.state(step)).tolist()]

    def sample(self, state: SamplerState, image: int) -> Sample:
        """Image number `image` as the epoch of `state` shows it."""
        row, rng = self.rows[image], self._generator(state, image)
        phrases, flipped, drawn = self._said(row, rng)
        masks = [self._mask(row, phrase, flipped, rng) for phrase in phrases]
        return Sample(drawn, self._view.image(pixels_of(row), flipped, rng), masks)

    def _generator(self, state: SamplerState, image: int) -> np.random.Generator:
        return np.random.default_rng([state.seed, 1, state.epoch, image])

    def _said(self, row: ImageRow, rng: np.random.Generator) -> tuple[list[Phrase], bool, Drawn]:
        """The phrases drawn, whether the image is mirrored, and the texts; the first of an image's draws."""
        phrases = self._choose(row, rng)
        flipped = bool(rng.random() < 0.5) and self.config.flip != "off"
        swapped = flipped and self.config.flip == "swap"
        texts = [swap_sides(phrase.text) if swapped else phrase.text for phrase in phrases]
        return phrases, flipped, Drawn(row, texts, swapped)

    def _choose(self, row: ImageRow, rng: np.random.Generator) -> list[Phrase]:
        """`phrases_per_image` phrases, all different where the image has so many."""
        wanted, there = self.config.phrases_per_image, len(row.phrases)
        rounds = [rng.permutation(there) for _ in range(-(-wanted // there))]
        return [row.phrases[i] for i in np.concatenate(rounds)[:wanted]]

    def _mask(
        self, row: ImageRow, phrase: Phrase, flipped: bool, rng: np.random.Generator
    ) -> Float32[np.ndarray, "mask_size mask_size"]:
        boxes: Sequence[Box] = phrase.boxes
        if self.config.regions == "one":
            # As published: while a box is degenerate and there are others, another one is drawn.
            boxes = [box for box in boxes if area(clamp(box, row.width, row.height))]
            boxes = [boxes[rng.integers(len(boxes))]] if boxes else []
        mask = self._view.mask(boxes, row, flipped)
        if self.config.empty_regions == "error" and not mask.any():
            raise InputError(
                f"image {row.image_id}: the region of {phrase.text!r} is empty; mend its boxes, "
                "or let data.empty_regions be skip"
            )
        return mask

    def _may_be_negative(
        self, state: SamplerState, own: Sequence[Drawn], texts: Sequence[str]
    ) -> Bool[Tensor, "pairs candidates"]:
        whole, share = self.sampler.batch(state).tolist(), self.sampler.share(state).tolist()
        images = whole if self.config.whole_batch else share
        owner = torch.tensor(share).repeat_interleave(self.config.phrases_per_image)
        others = owner[:, None] != torch.tensor(images)
        if self.config.false_negatives == "keep":
            return others
        drawn = dict(zip(share, own, strict=True))
        for image in set(images) - drawn.keys():
            # What another worker's image says; its pixels are not read.
            drawn[image] = self._said(self.rows[image], self._generator(state, image))[2]
        # A mirrored image makes the mirrored text true, so the text is mirrored back to be looked up.
        mirrored = (
            [swap_sides(text) for text in texts] if any(one.swapped for one in drawn.values()) else texts
        )
        columns: list[list[bool]] = []
        for row, _, swapped in (drawn[image] for image in images):
            true = row.also_true.union(phrase.text for phrase in row.phrases)
            columns.append([text not in true for text in (mirrored if swapped else texts)])
        return torch.tensor(columns).T & others
