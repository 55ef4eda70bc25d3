"""The augmentation of the published AMC code, to the last bit: OpenCV 4 on bytes.

Pure functions of an image and given factors, held to recorded cases, and `PublishedView`, which draws the factors. The
jitter is no small disturbance: saturation rises by 153 to 357 of 255, so that a jittered image is saturated nearly
everywhere, in nearly any hue, although its phrases name colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from torch.nn import functional as F

from amc_models.pixels import PIXEL_MEAN, PIXEL_STD
from amc_platform.data.boxes import Box
from amc_platform.data.rows import ImageRow
from amc_platform.data.transforms import look_up, mirror, sampled_mask

GRAY_PROBABILITY, JITTER_PROBABILITY = 0.2, 0.5
JITTER_RANGE = 0.4
"""Factors are drawn from 1 ± this (brightness, contrast, saturation) and 0 ± this (hue)."""


def resize_published(
    image: UInt8[np.ndarray, "height width 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Squash to a square: OpenCV's bilinear in fixed point, without antialias."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def resize_mask_published(
    mask: Float32[np.ndarray, "height width"], size: int
) -> Float32[np.ndarray, "size size"]:
    """Squash to a square: OpenCV's nearest neighbour."""
    return np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST), np.float32)


@lru_cache(maxsize=4096)
def nearest_published(length: int, size: int) -> Int[np.ndarray, " size"]:
    """Of `length` pixels, those that `resize_mask_published` keeps when it makes `size` of them."""
    places = np.arange(length, dtype=np.float32)[None]
    return cv2.resize(places, (size, 1), interpolation=cv2.INTER_NEAREST)[0].astype(np.int64)


def to_gray(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """OpenCV's luminance in all three channels."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)


def jitter(
    image: UInt8[np.ndarray, "height width 3"],
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """First contrast·(x + (brightness - 1)·mean), clipped to a byte; then a shift of hue and saturation.

    In OpenCV's HSV of bytes: hue + trunc(255·hue) modulo 180, saturation + trunc(255·saturation) up to 255.
    """
    levels = np.arange(256, dtype=np.float32) * np.float32(contrast)
    # Added in float64 and rounded to float32 before it is cut, as NumPy 2 did in the recorded cases. A sum of bytes is
    # exact in float64, whoever makes it; OpenCV is five times as fast as NumPy.
    mean = sum(cv2.sumElems(image)) / image.size
    levels = (levels + np.float64(contrast * (brightness - 1)) * mean).astype(np.float32)
    image = np.asarray(cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)), np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    steps = np.arange(256)
    hues, saturations = (steps + int(255 * hue)) % 180, np.clip(steps + int(255 * saturation), 0, 255)
    shifted = cv2.LUT(hsv, np.stack([hues, saturations, steps], axis=1).astype(np.uint8)[None])
    return np.asarray(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB), np.uint8)


def normalise_published(
    image: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "height width 3"]:
    """CLIP's statistics, as (x - 255·mean)·(1 / (255·std)) in float32."""
    mean, std = (np.array(values, np.float32) * np.float32(255) for values in (PIXEL_MEAN, PIXEL_STD))
    return (image.astype(np.float32) - mean) * np.reciprocal(std)


_BYTES = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
_NORMALISED = np.ascontiguousarray(normalise_published(_BYTES)[0].T)


@dataclass(frozen=True)
class PublishedView:
    """Resize, mirror, gray (0.2), jitter (0.5), normalise, in this order; the mask follows by nearest neighbour."""

    image_size: int
    mask_size: int

    def image(
        self, pixels: UInt8[np.ndarray, "height width 3"], flipped: bool, rng: np.random.Generator
    ) -> Float32[np.ndarray, "3 size size"]:
        """The network's input; `rng` draws whether and how colours change."""
        image = resize_published(pixels, self.image_size)
        if flipped:
            image = mirror(image)
        if rng.random() < GRAY_PROBABILITY:
            image = to_gray(image)
        if rng.random() < JITTER_PROBABILITY:
            brightness, contrast, saturation = rng.uniform(1 - JITTER_RANGE, 1 + JITTER_RANGE, 3).tolist()
            hue = rng.uniform(-JITTER_RANGE, JITTER_RANGE)
            image = jitter(image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
        return look_up(image, _NORMALISED)

    def mask(
        self, boxes: Sequence[Box], row: ImageRow, flipped: bool
    ) -> Float32[np.ndarray, "mask_size mask_size"]:
        """Region mask at the image's resolution, then bilinear with aligned corners where `mask_size` is another."""
        lines, columns = (nearest_published(length, self.image_size) for length in (row.height, row.width))
        mask = sampled_mask(boxes, row, lines, columns)
        if flipped:
            mask = mirror(mask)
        if self.mask_size == self.image_size:
            return mask
        square = (self.mask_size, self.mask_size)
        tensor = torch.from_numpy(mask)[None, None]
        return F.interpolate(tensor, square, mode="bilinear", align_corners=True)[0, 0].numpy()
