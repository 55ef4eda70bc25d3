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


def test_stem_centres_a_token_on_its_patch() -> None:
    torch.manual_seed(0)
    stem = ConvolutionStem(img_size=32, patch_size=8, in_chans=3, embed_dim=16)
    assert stem.num_patches == 16
    image = torch.zeros(1, 3, 32, 32, requires_grad=True)
    for convolution in (m for m in stem.modules() if isinstance(m, torch.nn.Conv2d)):
        torch.nn.init.constant_(convolution.weight, 0.01)
    stem.convolutions = torch.nn.Sequential(
        *(m for m in stem.modules() if isinstance(m, torch.nn.Conv2d) and m is not stem.proj)
    )
    # With equal kernels a token's view is symmetric: its middle is the patch's, row 1 and column 2 of the grid.
    stem(image)[0, 4 * 1 + 2].sum().backward()
    assert image.grad is not None
    seen = image.grad[0].sum(0)
    at = torch.arange(32) + 0.5
    assert float((seen.sum(1) * at).sum() / seen.sum()) == pytest.approx(8 * 1.5)
    assert float((seen.sum(0) * at).sum() / seen.sum()) == pytest.approx(8 * 2.5)
