"""The reference of `amc bench data`: a dataset class as one writes it first, by PIL, OpenCV and NumPy.

One item a phrase: its photo is opened, decoded and augmented for it alone, its mask is made at the photo's own size,
and colours are computed pixel by pixel as their formulas say; nothing of it is shared with the loader.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from amc_models.pixels import PIXEL_MEAN, PIXEL_STD
from amc_platform.data.boxes import area, clamp, region_mask
from amc_platform.data.rows import ImageRow


class Item(NamedTuple):
    """A phrase, its image and its region."""

    image: Float32[np.ndarray, "3 size size"]
    text: str
    mask: Float32[np.ndarray, "size size"]


class PlainDataset:
    """Phrases of `rows`, whose images lie in `folder` as files; augmented as published."""

    def __init__(self, folder: Path, rows: Sequence[ImageRow], size: int) -> None:
        self.rows, self.size = rows, size
        self.paths = [folder / str(number) for number in range(len(rows))]
        for path, row in zip(self.paths, rows, strict=True):
            path.write_bytes(row.image)

    def item(self, number: int, rng: np.random.Generator) -> Item:
        """A phrase of image `number`; `rng` is drawn from in the order of `TrainingLoader.sample`."""
        row, square = self.rows[number], (self.size, self.size)
        phrase = row.phrases[rng.permutation(len(row.phrases))[0]]
        flipped = rng.random() < 0.5
        boxes = [box for box in phrase.boxes if area(clamp(box, row.width, row.height)) > 0]
        mask = region_mask([boxes[rng.integers(len(boxes))]] if boxes else [], row.width, row.height)
        with Image.open(self.paths[number]) as file:
            image = np.array(file.convert("RGB"))
        image = cv2.resize(image, square, interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(mask, square, interpolation=cv2.INTER_NEAREST)
        if flipped:
            image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
        if rng.random() < 0.2:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if rng.random() < 0.5:
            image = _jitter(image, rng)
        image = (image.astype(np.float32) - _MEAN) * np.reciprocal(_STD)
        return Item(np.ascontiguousarray(image.transpose(2, 0, 1)), phrase.text, mask)

    def batch(self, numbers: Sequence[int], rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Items of `numbers`, stacked."""
        images, texts, masks = zip(*(self.item(number, rng) for number in numbers), strict=True)
        return torch.from_numpy(np.stack(images)), list(texts), torch.from_numpy(np.stack(masks))


_MEAN, _STD = (np.array(values, np.float32) * np.float32(255) for values in (PIXEL_MEAN, PIXEL_STD))


def _jitter(
    image: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3).tolist()
    hue = rng.uniform(-0.4, 0.4)
    shift = np.float64(contrast * (brightness - 1)) * image.mean()
    bright = (image * np.float32(contrast) + shift).astype(np.float32).clip(0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(bright, cv2.COLOR_RGB2HSV).astype(np.int64)
    hsv[..., 0] = (hsv[..., 0] + int(255 * hue)) % 180
    hsv[..., 1] = (hsv[..., 1] + int(255 * saturation)).clip(0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)
