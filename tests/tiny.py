"""A network small enough for float64 and finite differences, and batches for it."""

import torch

from amc_models.albef import Albef
from amc_models.batch import Batch
from amc_models.config import AlbefConfig
from amc_models.tokenizer import Tokenizer

WORDS = ("a", "red", "blue", "star", "ring", "left", "on", "the")


def tiny_config(**changes: object) -> AlbefConfig:
    sizes: dict[str, object] = {
        "image_size": 16,
        "patch_size": 4,
        "vision_width": 16,
        "vision_depth": 1,
        "vision_heads": 2,
        "text_width": 16,
        "text_heads": 2,
        "text_feedforward": 24,
        "text_layers": 3,
        "fusion_layer": 1,
        "vocabulary_size": 5 + len(WORDS),
        "max_positions": 12,
        "embedding_size": 8,
        "queue_size": 8,
        "gradcam_layer": 1,
        "mask_size": 16,
        "dropout": 0.0,
    }
    return AlbefConfig(**{**sizes, **changes})  # pyright: ignore[reportArgumentType]


def tiny_model(seed: int = 0, **changes: object) -> Albef:
    torch.manual_seed(seed)
    model = Albef(tiny_config(**changes), Tokenizer.of_words(WORDS)).double()
    for parameter in model.parameters():
        # Larger than the initialisation, so that attention is far from uniform and gradients from zero.
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.temp.data.fill_(0.2)
    model.reset_momentum()
    return model


def tiny_batch(images: int = 3, per_image: int = 2, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    pairs = images * per_image
    texts = ["a red star", "a blue ring on the left", "a ring", "a red ring", "a star", "a blue star"]
    tokens = Tokenizer.of_words(WORDS).batch([texts[i % len(texts)] for i in range(pairs)], max_length=12)
    masks = torch.zeros(pairs, 16, 16, dtype=torch.float64)
    for pair in range(pairs):
        masks[pair, pair : pair + 6, 2 : 9 + pair % 3] = 1
    index = torch.arange(images).repeat_interleave(per_image)
    return Batch(
        images=torch.randn(images, 3, 16, 16, generator=generator, dtype=torch.float64),
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        may_be_negative=index[:, None] != torch.arange(images),
        maskable=tokens.attention_mask & (tokens.input_ids > 4),
        region_masks=masks,
        has_region=torch.ones(pairs, dtype=torch.bool),
    )
