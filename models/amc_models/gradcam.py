"""GradCAM heatmaps from cross attention: differentiable in training, cheap in evaluation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amc_models.precision import fast_cpu_matmul

if TYPE_CHECKING:
    from amc_models.albef import Albef
    from amc_models.attention import KeysValues

NORMALISATION_EPS = 1e-7
PAIRS_PER_FUSION = (8, 32)
"""Enough pairs to fuse at a time in evaluation, and the most: each has a copy of its image's keys and values (21 MB
in the paper's network at 384 px)."""


def heatmap(
    attention: Float[Tensor, "pairs heads length tokens"],
    gradient: Float[Tensor, "pairs heads length tokens"],
    attention_mask: Bool[Tensor, "pairs length"],
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Eq. 6: attention times positive gradient, the image CLS dropped, mean over heads and all text positions.

    Padded positions add zeros but count in the mean, as published.
    """
    grid = round((attention.shape[-1] - 1) ** 0.5)
    maps = attention[..., 1:] * gradient[..., 1:].clamp(min=0) * attention_mask[:, None, :, None]
    return maps.mean(dim=(1, 2)).unflatten(-1, (grid, grid))


def normalise(maps: Float[Tensor, "pairs grid_h grid_w"]) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Each map to [0, 1]: minus its minimum, over its maximum (plus 1e-7), as published."""
    low = maps.amin(dim=(1, 2), keepdim=True)
    shifted = maps - low
    return shifted / (shifted.amax(dim=(1, 2), keepdim=True) + NORMALISATION_EPS)


def upsample(maps: Float[Tensor, "pairs grid_h grid_w"], size: int) -> Float[Tensor, "pairs size size"]:
    """Bilinear, align_corners=False: to the size at which region masks are compared."""
    return F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


def attention_gradient(
    logits: Float[Tensor, "pairs 2"],
    attention: Float[Tensor, "pairs heads length tokens"],
    source: Literal["logit", "loss"],
    *,
    differentiable: bool,
) -> Float[Tensor, "pairs heads length tokens"]:
    """Eq. 5: gradient of the match logit (published), or of minus the matching loss H(1, phi) (paper).

    Minus, because the loss falls where attention supports the match; the heatmap keeps positive parts.
    """
    scores = logits[:, 1] if source == "logit" else logits.log_softmax(dim=-1)[:, 1]
    (gradient,) = torch.autograd.grad(scores.sum(), attention, create_graph=differentiable)
    return gradient


@torch.no_grad()
def heatmaps(
    model: "Albef",
    images: Float[Tensor, "images 3 height width"],
    phrases: Sequence[Sequence[str]],
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Raw heatmaps of the phrases of each image, image by image; every image is encoded once.

    `images` are normalised pixels. Gradient is taken from the attention map upwards only. The mean of eq. 6 is over the
    phrase's own tokens, not over those it happens to be padded to, so that a map does not depend on its batch.
    """
    input_ids, mask = model.tokenize([text for texts in phrases for text in texts])
    lengths = mask.sum(dim=1)
    counts = torch.tensor([len(texts) for texts in phrases], dtype=torch.long)
    image_of_pair = torch.repeat_interleave(torch.arange(len(phrases)), counts).to(images.device)
    maps = images.new_empty(len(lengths), model.config.grid_size, model.config.grid_size)
    was_training = model.training
    model.eval()
    try:
        with fast_cpu_matmul():
            keys_values = model.text_encoder.image_keys_values(model.visual_encoder(images))
            for pairs, length in batches_of_like_length(lengths.tolist()):
                of_pairs = [image.of(image_of_pair[pairs]) for image in keys_values]
                padded = _fused_heatmaps(model, input_ids[pairs, :length], mask[pairs, :length], of_pairs)
                maps[pairs] = padded * (length / lengths[pairs].to(maps))[:, None, None]
    finally:
        model.train(was_training)
    return maps


def batches_of_like_length(lengths: Sequence[int]) -> list[tuple[list[int], int]]:
    """Pairs that are fused together, and the length they are padded to: sorted by length, so that little is padded.

    A batch ends where the length grows and it has enough pairs, or where it is full.
    """
    few, full = PAIRS_PER_FUSION
    batches: list[list[int]] = []
    for pair in sorted(range(len(lengths)), key=lengths.__getitem__):
        last = batches[-1] if batches else []
        room = few if last and lengths[last[-1]] < lengths[pair] else full
        if not 0 < len(last) < room:
            batches.append(last := [])
        last.append(pair)
    return [(pairs, lengths[pairs[-1]]) for pairs in batches]


def _fused_heatmaps(
    model: "Albef",
    input_ids: Int[Tensor, "pairs length"],
    mask: Bool[Tensor, "pairs length"],
    keys_values: list["KeysValues"],
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Heatmaps of pairs, given the keys and values of the image of each."""
    hidden = model.text_encoder.encode(input_ids, mask)
    taps: list[Tensor] = []

    def tap(probabilities: Tensor) -> Tensor:
        taps.append(probabilities.detach().requires_grad_())
        return taps[0]

    text_cls = input_ids.new_zeros(len(input_ids), 1)
    with torch.enable_grad():
        fused = model.text_encoder.fuse(hidden, mask, keys_values, tap=tap, rows=text_cls)
        logits = model.itm_head(fused[:, 0])
        gradient = attention_gradient(logits, taps[0], "logit", differentiable=False)
    return heatmap(taps[0].detach(), gradient, mask)
