import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_config, tiny_model

from amc_models.albef import Albef
from amc_models.config import TimmVision
from amc_models.errors import InputError
from amc_models.vision import interpolate_positions
from amc_platform.data.rows import ImageRow
from amc_platform.evaluation.network import at_resolution, image_loader
from amc_platform.evaluation.pictures import squashed
from amc_platform.evaluation.protocol import Protocol

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)


def row() -> ImageRow:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return ImageRow("a", stream.getvalue(), 41, 30, (), frozenset())


def bytes_of(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def test_pictures_are_squashed_as_each_library_does() -> None:
    opencv = cv2.resize(PIXELS, (16, 16), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(bytes_of(squashed(row(), 16, "opencv_bilinear")), opencv)
    pil = np.asarray(Image.fromarray(PIXELS).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(bytes_of(squashed(row(), 16, "pil_bicubic")), pil)
    # torch's bilinear keeps fractions: the same pixels, but for a rounding.
    difference = bytes_of(squashed(row(), 16, "bilinear")).astype(int) - opencv
    assert 0 < np.abs(difference).max() <= 1


def test_the_network_sees_normalised_pixels() -> None:
    model = tiny_model()
    image = image_loader(model, Protocol(name="x", resolution=16, resize="pil_bicubic"))(row())
    expected = (squashed(row(), 16, "pil_bicubic")[1, 3, 4] - 0.4578275) / 0.26130258
    assert image[1, 3, 4].item() == pytest.approx(expected.item(), abs=1e-6)


def test_another_resolution_interpolates_positions_and_shares_the_rest() -> None:
    model = tiny_model().eval()
    large = at_resolution(model, 32)
    assert at_resolution(model, 16) is model
    assert at_resolution(model, None) is model
    assert (model.config.image_size, large.config.image_size) == (16, 32)
    assert model.visual_encoder.pos_embed is not None
    assert large.visual_encoder.pos_embed is not None
    wanted = interpolate_positions(model.visual_encoder.pos_embed.data, 8)
    assert torch.equal(large.visual_encoder.pos_embed.data, wanted)
    assert large.encode_image(torch.zeros(1, 3, 32, 32).double())[0].shape == (1, 65, 16)
    assert not large.visual_encoder.training
    # What is trained on is what is evaluated: one memory.
    model.itm_head.bias.data.fill_(7.0)
    model.visual_encoder.get_parameter("norm.bias").data.fill_(3.0)
    assert large.itm_head.bias.data.tolist() == [7.0, 7.0]
    assert large.visual_encoder.get_parameter("norm.bias").data[0] == 3
    with pytest.raises(InputError, match="image_size: 30 is no multiple"):
        at_resolution(model, 30)


def test_a_network_of_timm_is_shared_at_another_resolution() -> None:
    vision = TimmVision(timm="vit_tiny_patch16_224", out_index=0)
    torch.manual_seed(0)
    model = Albef(tiny_config(vision=vision, image_size=32, patch_size=16)).eval()
    larger = at_resolution(model, 64)
    assert larger.config.grid_size == 4
    assert larger.visual_encoder.patch_embed.proj.weight is model.visual_encoder.patch_embed.proj.weight
    # The network of timm takes any size, our positions are interpolated.
    assert larger.visual_encoder(torch.randn(1, 3, 64, 64)).shape == (1, 17, 16)
    assert model.visual_encoder(torch.randn(1, 3, 32, 32)).shape == (1, 5, 16)
