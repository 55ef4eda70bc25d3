"""GradCAM heatmaps from cross attention: differentiable in training, cheap in evaluation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from amc_models.albef import Albef

NORMALISATION_EPS = 1e-7


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


def heatmaps(
    model: "Albef",
    images: Float[Tensor, "images 3 height width"],
    phrases: Sequence[Sequence[str]],
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Raw heatmaps of the phrases of each image, image by image; every image is encoded once.

    `images` are normalised pixels. Gradient is taken from the attention map upwards only.
    """
    counts = torch.tensor([len(texts) for texts in phrases])
    index = torch.repeat_interleave(torch.arange(len(phrases)), counts).to(images.device)
    input_ids, mask = model.tokenize([text for texts in phrases for text in texts])
    taps: list[Tensor] = []

    def tap(probabilities: Tensor) -> Tensor:
        taps.append(probabilities.detach().requires_grad_())
        return taps[0]

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            keys_values = model.text_encoder.image_keys_values(model.visual_encoder(images))
            hidden = model.text_encoder.encode(input_ids, mask)
        pairs = [image.of(index) for image in keys_values]
        with torch.enable_grad():
            fused = model.text_encoder.fuse(hidden, mask, pairs, tap=tap)
            logits = model.itm_head(fused[:, 0])
            gradient = attention_gradient(logits, taps[0], "logit", differentiable=False)
    finally:
        model.train(was_training)
    return heatmap(taps[0].detach(), gradient, mask)
