"""Pixels as the network takes them."""

import torch
from jaxtyping import Float
from torch import Tensor

# CLIP's pixel statistics, with which the published code normalises.
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def normalise_pixels(
    images: Float[Tensor, "images 3 height width"],
) -> Float[Tensor, "images 3 height width"]:
    """Pixels in [0, 1] to the network's input."""
    mean, std = of_channels(PIXEL_MEAN, images), of_channels(PIXEL_STD, images)
    return (images - mean) / std


def renormalised(
    images: Float[Tensor, "images 3 height width"],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Float[Tensor, "images 3 height width"]:
    """The network's input as one that wants the pixel statistics `mean` and `std` takes it."""
    scale = [ours / theirs for ours, theirs in zip(PIXEL_STD, std, strict=True)]
    shift = [(a - b) / s for a, b, s in zip(PIXEL_MEAN, mean, std, strict=True)]
    return images * of_channels(scale, images) + of_channels(shift, images)


def of_channels(values: "tuple[float, ...] | list[float]", like: Tensor) -> Float[Tensor, "3 1 1"]:
    """A number a channel, on the device and in the type of `like`."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
