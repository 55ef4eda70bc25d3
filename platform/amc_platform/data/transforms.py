"""From a row of the table to what the network sees: pixels, region masks, flips."""

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from amc_models.errors import InputError
from amc_platform.data.boxes import Box, region_mask
from amc_platform.data.rows import ImageRow

_OPPOSITE = {"left": "right", "right": "left"}


def decode(row: ImageRow) -> UInt8[Tensor, "3 height width"]:
    """RGB pixels of the encoded image. Raises InputError naming the image where it cannot be read."""
    try:
        with Image.open(io.BytesIO(row.image)) as image:
            pixels = np.array(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(
            f"image {row.image_id}: cannot be decoded as PNG or JPEG; prepare the table again"
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def resize(
    image: UInt8[Tensor, "3 height width"],
    size: int,
    how: Literal["bilinear", "bicubic", "bicubic_antialias"] = "bilinear",
) -> Float[Tensor, "3 size size"]:
    """Squash to a square, pixels in [0, 1]; training is bilinear without antialias, as published."""
    pixels = image.float() / 255
    if pixels.shape[1:] == (size, size):
        return pixels
    mode, _, antialias = how.partition("_")
    resized = F.interpolate(
        pixels[None], (size, size), mode=mode, align_corners=False, antialias=bool(antialias)
    )
    return resized[0].clamp(0, 1)


def mask_of(boxes: Sequence[Box], row: ImageRow, size: int) -> Float[Tensor, "size size"]:
    """Region mask of the union of `boxes`, made at the image's own size and reduced by nearest neighbour."""
    mask = torch.from_numpy(region_mask(boxes, row.width, row.height))
    if mask.shape == (size, size):
        return mask
    return F.interpolate(mask[None, None], (size, size), mode="nearest")[0, 0]


def swap_sides(text: str) -> str:
    """The text with left and right exchanged: what it says of the mirrored image."""
    return " ".join(_OPPOSITE.get(word, word) for word in text.split(" "))
