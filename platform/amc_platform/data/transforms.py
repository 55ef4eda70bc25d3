"""From a row of the table to pixels, region masks and mirrored words: what every augmentation is made of."""

import io
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from amc_models.errors import InputError
from amc_models.pixels import normalise_pixels
from amc_platform.data.boxes import Box, clamp
from amc_platform.data.rows import ImageRow

_SIDES = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
_OPPOSITE = {here: there for one, other in _SIDES for here, there in ((one, other), (other, one))}
_SIDE = re.compile(rf"\b({'|'.join(_OPPOSITE)})(?=(?:most|hand|side)?\b)")


def pixels_of(row: ImageRow) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of the encoded image, whose size may be another than the row's, to which its boxes belong.

    Raises InputError naming the image where there is none or it cannot be read.
    """
    if not row.image:
        raise InputError(
            f"image {row.image_id}: the table was prepared without images; prepare it without --no-images"
        )
    try:
        with Image.open(io.BytesIO(row.image)) as image:
            if image.format == "JPEG" and image.mode == "RGB" and row.image.endswith(_END_OF_JPEG):
                return _decode_jpeg(row.image)
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    # Decoders raise nearly anything for broken bytes: OSError, SyntaxError, struct.error.
    except Exception as error:
        raise InputError(
            f"image {row.image_id}: cannot be decoded as PNG or JPEG; prepare the table again"
        ) from error


_END_OF_JPEG = b"\xff\xd9"
"""Without it a file is cut off: OpenCV would fill up what is missing, PIL refuses."""


def _decode_jpeg(encoded: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The same library as PIL's, so the same pixels, without PIL's copies: half of the time."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if pixels is None:
        raise ValueError("not decoded")
    return np.asarray(pixels, np.uint8)


def decode(row: ImageRow) -> UInt8[Tensor, "3 height width"]:
    """`pixels_of` as a tensor, channels first."""
    return torch.from_numpy(pixels_of(row)).permute(2, 0, 1)


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


def mirror(
    image: Shaped[np.ndarray, "height width *channels"],
) -> Shaped[np.ndarray, "height width *channels"]:
    """Left and right exchanged."""
    return cv2.flip(image, 1)


def look_up(
    image: UInt8[np.ndarray, "height width 3"], levels: Float32[np.ndarray, "3 256"]
) -> Float32[np.ndarray, "3 height width"]:
    """Channels first, each byte replaced by its channel's level: a conversion and a normalisation in one pass."""
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(image)):
        cv2.LUT(plane, levels[channel], planes[channel])
    return planes


NORMALISED = normalise_pixels((torch.arange(256) / 255).expand(1, 3, 1, -1))[0, :, 0].numpy()
"""Level of each byte as the network sees it, for `look_up`."""


def sampled_mask(
    boxes: Sequence[Box],
    row: ImageRow,
    lines: Int[np.ndarray, " mask_height"],
    columns: Int[np.ndarray, " mask_width"],
) -> Float32[np.ndarray, "mask_height mask_width"]:
    """The given lines and columns (rising) of the row's `region_mask`, which is not made for it."""
    mask = np.zeros((len(lines), len(columns)), np.float32)
    for box in boxes:
        x1, y1, x2, y2 = clamp(box, row.width, row.height)
        top, bottom = np.searchsorted(lines, (y1, y2))
        left, right = np.searchsorted(columns, (x1, x2))
        mask[top:bottom, left:right] = 1.0
    return mask


@lru_cache(maxsize=4096)
def nearest(length: int, size: int) -> Int[np.ndarray, " size"]:
    """Of `length` pixels, those that torch's nearest neighbour keeps when it makes `size` of them."""
    places = torch.arange(length, dtype=torch.float32)[None, None]
    return F.interpolate(places, size, mode="nearest")[0, 0].long().numpy()


def swap_sides(text: str) -> str:
    """The text with left and right exchanged (leftmost, left-hand too): what it says of the mirrored image."""
    return _SIDE.sub(lambda word: _OPPOSITE[word[0]], text)
