"""The augmentation that the paper names, by torchvision: resize, horizontal flip, colour jitter, random grayscale.

The paper gives no strengths. Taken are those of MoCo v2 (Chen et al., 2020), 0.4 for brightness, contrast and
saturation and 0.1 for hue, and the published code's probabilities, 0.5 for the jitter and 0.2 for gray. Factors are
drawn from the image's own generator and given to `torchvision.transforms.v2.functional`: torchvision's classes draw
from the process's generator, which threads would share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as v2

from amc_platform.data.boxes import Box, region_mask
from amc_platform.data.rows import ImageRow
from amc_platform.data.transforms import NORMALISED, look_up

JITTER_PROBABILITY, GRAY_PROBABILITY = 0.5, 0.2
BRIGHTNESS = CONTRAST = SATURATION = 0.4
HUE = 0.1


@dataclass(frozen=True)
class PaperView:
    """Squash to a square with antialias, mirror, jitter, gray; the mask is made from boxes that went the same way."""

    image_size: int
    mask_size: int

    def image(
        self, pixels: UInt8[np.ndarray, "height width 3"], flipped: bool, rng: np.random.Generator
    ) -> Float32[np.ndarray, "3 size size"]:
        """Normalised pixels; `rng` draws whether and how colours change."""
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        image = _squash_and_mirror(image, self.image_size, flipped)
        if rng.random() < JITTER_PROBABILITY:
            image = _jitter(image, rng)
        if rng.random() < GRAY_PROBABILITY:
            image = v2.rgb_to_grayscale(image, num_output_channels=3)
        return look_up(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), NORMALISED)

    def mask(
        self, boxes: Sequence[Box], row: ImageRow, flipped: bool
    ) -> Float32[np.ndarray, "mask_size mask_size"]:
        """1 where a pixel's centre lies in one of the transformed boxes."""
        corners = tv_tensors.BoundingBoxes(  # pyright: ignore[reportCallIssue] - Tensor's __init__ hides its __new__
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            format="XYXY",
            canvas_size=(row.height, row.width),
        )
        corners = _squash_and_mirror(corners, self.mask_size, flipped).round()
        return region_mask([Box(*box) for box in corners.tolist()], self.mask_size, self.mask_size)


def _squash_and_mirror(inputs: Tensor, size: int, flipped: bool) -> Tensor:
    """An image or boxes: torchvision moves each in its own way."""
    inputs = v2.resize(inputs, [size, size], antialias=True)
    return v2.horizontal_flip(inputs) if flipped else inputs


def _jitter(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, in an order that is drawn too."""
    changes = [
        (v2.adjust_brightness, rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)),
        (v2.adjust_contrast, rng.uniform(1 - CONTRAST, 1 + CONTRAST)),
        (v2.adjust_saturation, rng.uniform(1 - SATURATION, 1 + SATURATION)),
        (v2.adjust_hue, rng.uniform(-HUE, HUE)),
    ]
    for index in rng.permutation(len(changes)):
        change, factor = changes[index]
        image = change(image, factor)
    return image
