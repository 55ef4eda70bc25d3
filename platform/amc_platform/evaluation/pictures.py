"""A row's picture squashed to the network's input, by the library whose rounding a protocol names."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from amc_models.pixels import normalise_pixels
from amc_platform.data.rows import ImageRow
from amc_platform.data.transforms import decode, pixels_of, resize
from amc_platform.evaluation.protocol import Resize


def squashed(row: ImageRow, size: int, how: Resize) -> Float[Tensor, "3 size size"]:
    """Pixels in [0, 1]. OpenCV and PIL round to bytes, as in the published evaluation."""
    if how == "bilinear":
        return resize(decode(row), size)
    pixels = pixels_of(row)
    if how == "opencv_bilinear":
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    else:
        pixels = np.array(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def network_input(row: ImageRow, size: int, how: Resize) -> Float[Tensor, "3 size size"]:
    """The row's picture as the image encoder takes it."""
    return normalise_pixels(squashed(row, size, how)[None])[0]
