"""GradCAM heatmaps from cross attention: differentiable in training, cheap in evaluation."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amc_models.attention import ByImage, KeysValues
from amc_models.precision import fast_cpu_matmul

if TYPE_CHECKING:
    from amc_models.albef import Albef

NORMALISATION_EPS = 1e-7
TOKENS_PER_PASS = 256
"""Tokens that are fused together in evaluation: enough that no product has few rows; each is compared with all."""


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
    attention: Float[Tensor, "sequences heads length tokens"],
    source: Literal["logit", "loss"],
    *,
    differentiable: bool,
) -> Float[Tensor, "sequences heads length tokens"]:
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
    counts = torch.tensor([len(texts) for texts in phrases], dtype=torch.long)
    image_of_pair = torch.repeat_interleave(torch.arange(len(phrases)), counts)
    maps = images.new_empty(len(mask), model.config.grid_size, model.config.grid_size)
    was_training = model.training
    model.eval()
    try:
        with fast_cpu_matmul():
            keys_values = model.text_encoder.image_keys_values(model.visual_encoder(images))
            for pairs in passes(mask.sum(dim=1).tolist()):
                maps[pairs] = _packed_heatmaps(
                    model, input_ids[pairs], mask[pairs], keys_values, image_of_pair[pairs]
                )
    finally:
        model.train(was_training)
    return maps


def passes(lengths: Sequence[int]) -> list[slice]:
    """Pairs that are fused together: as many behind each other as have TOKENS_PER_PASS tokens, or one."""
    starts, tokens = list[int](), 0
    for pair, length in enumerate(lengths):
        tokens += length
        if not starts or tokens > TOKENS_PER_PASS:
            starts.append(pair)
            tokens = length
    return [slice(*ends) for ends in itertools.pairwise([*starts, len(lengths)])]


def _packed_heatmaps(
    model: "Albef",
    input_ids: Int[Tensor, "pairs length"],
    mask: Bool[Tensor, "pairs length"],
    keys_values: list[KeysValues],
    image_of_pair: Int[Tensor, " pairs"],
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Heatmaps of pairs that lie image by image, their tokens in one sequence: nothing is padded but attention.

    `image_of_pair` lies on the host, which reads it.
    """
    encoder, config = model.text_encoder, model.config
    pair, position = mask.nonzero(as_tuple=True)
    cls = (position == 0).nonzero()[:, 0]
    first, last = (int(image_of_pair[end].item()) for end in (0, -1))
    image = (image_of_pair - first).to(mask.device)
    of_images = [
        KeysValues(keys[first : last + 1], values[first : last + 1]) for keys, values, _ in keys_values
    ]
    laid_out = ByImage.of(of_images[0], image[pair])
    layers = [laid_out._replace(source=of_image) for of_image in of_images]
    if config.gradcam_layer < config.text_layers - 1:
        # The last layer has the CLS as its only queries; one that a heatmap is of has them all.
        layers[-1] = ByImage.of(of_images[-1], image)
    taps: list[Tensor] = []

    def tap(probabilities: Tensor) -> Tensor:
        taps.append(probabilities.detach().requires_grad_())
        return taps[0]

    together = (pair[:, None] == pair)[None]
    hidden = encoder.encode(input_ids[mask][None], together, position[None])
    with torch.enable_grad():
        fused = encoder.fuse(hidden, together, layers, tap=tap, rows=cls[None])
        gradient = attention_gradient(model.itm_head(fused[0]), taps[0], "logit", differentiable=False)

    tokens = laid_out.place[mask.cumsum(dim=1) - 1 + cls[:, None]]

    def of_pairs(of_images: Tensor) -> Float[Tensor, "pairs heads length tokens"]:
        return of_images.transpose(1, 2).flatten(0, 1)[tokens].transpose(1, 2)

    maps = heatmap(of_pairs(taps[0].detach()), of_pairs(gradient), mask)
    return maps * (mask.shape[1] / mask.sum(dim=1).to(maps))[:, None, None]
