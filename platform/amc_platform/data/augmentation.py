"""What a training image may look like: the presets of `data.preset` behind one interface."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from amc_models.pixels import normalise_pixels
from amc_platform.data.boxes import Box
from amc_platform.data.paper_augment import PaperView
from amc_platform.data.published_augment import PublishedView
from amc_platform.data.rows import ImageRow
from amc_platform.data.transforms import NORMALISED, look_up, mirror, nearest, resize, sampled_mask

Preset = Literal["none", "paper", "published"]
Flip = Literal["off", "plain", "swap"]

# The published code mirrors images and leaves their texts; texts such as the paper's "on the left" stay true only if
# they are swapped.
FLIP_OF_PRESET: dict[Preset, Flip] = {"none": "off", "paper": "swap", "published": "plain"}


@runtime_checkable
class View(Protocol):
    """How an image and its regions come before the network. `rng` is the only chance there is."""

    def image(
        self, pixels: UInt8[np.ndarray, "height width 3"], flipped: bool, rng: np.random.Generator
    ) -> Float32[np.ndarray, "3 size size"]:
        """Normalised pixels, mirrored where `flipped`."""
        ...

    def mask(
        self, boxes: Sequence[Box], row: ImageRow, flipped: bool
    ) -> Float32[np.ndarray, "mask_size mask_size"]:
        """1 inside the union of `boxes` as that image shows them."""
        ...


@dataclass(frozen=True)
class PlainView:
    """Resize only: bilinear without antialias in floating point; masks by nearest neighbour."""

    image_size: int
    mask_size: int

    def image(
        self, pixels: UInt8[np.ndarray, "height width 3"], flipped: bool, rng: np.random.Generator
    ) -> Float32[np.ndarray, "3 size size"]:
        """Normalised pixels, mirrored where `flipped`; draws nothing."""
        if pixels.shape[:2] == (self.image_size, self.image_size):
            return look_up(mirror(pixels) if flipped else pixels, NORMALISED)
        image = normalise_pixels(resize(torch.from_numpy(pixels).permute(2, 0, 1), self.image_size)[None])[0]
        return (image.flip(-1) if flipped else image).numpy()

    def mask(
        self, boxes: Sequence[Box], row: ImageRow, flipped: bool
    ) -> Float32[np.ndarray, "mask_size mask_size"]:
        """Mask of the clamped boxes, reduced from the row's size."""
        lines, columns = nearest(row.height, self.mask_size), nearest(row.width, self.mask_size)
        mask = sampled_mask(boxes, row, lines, columns)
        return mirror(mask) if flipped else mask


def make_view(preset: Preset, image_size: int, mask_size: int) -> View:
    """The view that `data.preset` names."""
    views = {"none": PlainView, "paper": PaperView, "published": PublishedView}
    return views[preset](image_size, mask_size)
