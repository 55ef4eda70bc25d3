"""A step's input that follows from a seed alone, on every machine the same."""

import torch

from amc_models.batch import Batch, Draws, MaskedText, Negatives
from amc_models.config import AlbefConfig

CLS_ID, FIRST_WORD_ID, MASK_EVERY = 2, 5, 6


def synthetic_batch(
    config: AlbefConfig, images: int, phrases_per_image: int = 1, *, length: int = 20, seed: int = 0
) -> Batch:
    """Random pixels and words; the text of every fourth pair is a quarter shorter than `length`, the rest padded."""
    generator = torch.Generator().manual_seed(seed)
    pairs, size = images * phrases_per_image, config.mask_size
    words = torch.randint(FIRST_WORD_ID, config.vocabulary_size, (pairs, length), generator=generator)
    words[:, 0] = CLS_ID
    mask = torch.ones(pairs, length, dtype=torch.bool)
    mask[3::4, -(length // 4) :] = False
    index = torch.arange(images).repeat_interleave(phrases_per_image)
    regions = torch.zeros(pairs, size, size)
    for pair, region in enumerate(regions):
        start = pair % 4 * size // 8
        region[start : start + size // 2, size // 4 : size // 2 + start // 2] = 1
    return Batch(
        images=torch.randn(images, 3, config.image_size, config.image_size, generator=generator),
        input_ids=words.masked_fill(~mask, 0),
        attention_mask=mask,
        may_be_negative=index[:, None] != torch.arange(images),
        maskable=mask & (words != CLS_ID),
        region_masks=regions,
        has_region=torch.ones(pairs, dtype=torch.bool),
    )


def fixed_draws(batch: Batch, mask_token_id: int) -> Draws:
    """What a step would draw: the next image's pair as both negatives, every sixth word hidden."""
    pairs, length = batch.input_ids.shape
    number = torch.arange(pairs * length, device=batch.input_ids.device)
    other = number[:pairs].roll(-(pairs // len(batch.images)))
    hidden = batch.maskable & (number.view(pairs, length) % MASK_EVERY == 1)
    return Draws(
        Negatives(image_of_text=other, text_of_image=other.flip(0).roll(1)),
        MaskedText(
            batch.input_ids.masked_fill(hidden, mask_token_id), batch.input_ids.masked_fill(~hidden, -100)
        ),
    )
