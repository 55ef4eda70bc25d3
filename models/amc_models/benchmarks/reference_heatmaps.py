"""Heatmaps as the published evaluation computes them: what the fast path is checked against, and timed against."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.albef import Albef
from amc_models.benchmarks.reference import encode_image, encode_text, fuse
from amc_models.gradcam import heatmap

PAIRS_PER_BATCH = 8
"""Pairs of an image and a phrase in a batch, as published."""


def reference_heatmaps(
    model: Albef, images: Float[Tensor, "images 3 height width"], phrases: Sequence[Sequence[str]]
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Raw heatmaps (eq. 5 and 6) of the phrases of each image, image by image; to be equal to `gradcam.heatmaps`.

    An image is encoded anew for each of its phrases, attention is written out, and the backward pass goes into all
    encoder weights. `model` is in evaluation mode and keeps no gradients.
    """
    pairs = [(image, text) for image, texts in zip(images, phrases, strict=True) for text in texts]
    batches = [pairs[first : first + PAIRS_PER_BATCH] for first in range(0, len(pairs), PAIRS_PER_BATCH)]
    return torch.cat([_of_pairs(model, *map(list, zip(*batch, strict=True))) for batch in batches])


def _of_pairs(model: Albef, images: list[Tensor], texts: list[str]) -> Float[Tensor, "pairs grid_h grid_w"]:
    input_ids, mask = model.tokenize(texts)
    image = encode_image(model.visual_encoder, torch.stack(images))
    taps: list[Tensor] = []
    text = encode_text(model.text_encoder, input_ids, mask)
    hidden = fuse(model.text_encoder, text, mask, image, taps)
    attention = taps[model.config.gradcam_layer - model.config.fusion_layer]
    attention.retain_grad()
    model.itm_head(hidden[:, 0])[:, 1].sum().backward()
    assert attention.grad is not None
    raw = heatmap(attention.detach(), attention.grad, mask)
    model.zero_grad()
    # The published mean is over the padded length; over the phrase's own, a map does not depend on its batch.
    return raw * (mask.shape[1] / mask.sum(dim=1).to(raw))[:, None, None]
