"""The small network's stem and positions, by hand."""

import pytest
import torch

from amc_models.config import AlbefConfig
from amc_models.vision import ConvolutionStem, ImageEncoder, sine_positions


def test_positions_of_a_grid_of_two() -> None:
    half = 0.5**0.5
    first, second = [0.0, 0.0, 1.0, 1.0], [half, 0.0, half, -1.0]
    wanted = [first + first, first + second, second + first, second + second]
    torch.testing.assert_close(sine_positions(2, 8), torch.tensor(wanted), rtol=0, atol=1e-6)


def test_small_starts_with_them_and_base_with_noise() -> None:
    small = ImageEncoder(AlbefConfig.preset("small"))
    assert small.pos_embed is not None
    assert torch.equal(small.pos_embed[0, 1:], sine_positions(8, 128))
    linear = ImageEncoder(AlbefConfig.preset("small", stem="patch"))
    assert linear.pos_embed is not None
    assert linear.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)


def test_stem_makes_tokens_row_by_row_around_multiples_of_the_patch() -> None:
    torch.manual_seed(0)
    stem = ConvolutionStem(img_size=32, patch_size=8, in_chans=3, embed_dim=16)
    image = torch.zeros(1, 3, 32, 32)
    image[..., 7:10, 23:26] = 5.0  # around row 8, column 24
    changed = (stem(image) - stem(torch.zeros(1, 3, 32, 32)))[0].abs().amax(1)
    assert stem.num_patches == 16
    assert int(changed.argmax()) == 4 * 1 + 3
