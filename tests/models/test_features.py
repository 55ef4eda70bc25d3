"""A network of timm as the stem: where its tokens look, what stays frozen, what is refused."""

from pathlib import Path

import pytest
import timm
import torch
from tiny import WORDS, tiny_config

from amc_models.albef import Albef
from amc_models.config import AlbefConfig, TimmVision
from amc_models.errors import InputError
from amc_models.features import TimmStem
from amc_models.gradcam import heatmaps
from amc_models.pixels import normalise_pixels
from amc_models.published import export_published
from amc_models.tokenizer import Tokenizer
from amc_models.weights import load_checkpoint, load_config, save_checkpoint

NETWORK = "mobilenetv3_small_050"


def timm_config(**changes: object) -> AlbefConfig:
    vision = TimmVision(timm=NETWORK, out_index=3)
    return tiny_config(**{"vision": vision, "image_size": 64, "patch_size": 16, "mask_size": 64, **changes})


def timm_model(seed: int = 0) -> Albef:
    torch.manual_seed(seed)
    return Albef(timm_config(), Tokenizer.of_words(WORDS))


@pytest.mark.parametrize(
    ("name", "level", "stride"),
    [
        ("tf_efficientnet_lite0", 3, 16),  # pads as TensorFlow does
        ("resnet18", 3, 16),  # pads on both sides
        ("resnet10t", 3, 16),  # likewise, but half of what arrives went through a pool, which is centred
        ("convnext_atto", 2, 16),  # does not pad where it strides
        ("vit_tiny_patch16_224", 3, 16),
    ],
)
def test_a_token_looks_at_its_own_patch(name: str, level: int, stride: int) -> None:
    torch.manual_seed(0)
    stem = TimmStem(TimmVision(timm=name, out_index=level), 256, stride, 3, 4)
    images = torch.randn(4, 3, 256, 256, requires_grad=True)
    tokens = stem(images)
    assert tokens.shape == (4, 16 * 16, 4)
    # Row 9, column 5: what moves the token lies around the middle of patch (9, 5).
    tokens[:, 16 * 9 + 5].square().sum().backward()
    assert images.grad is not None
    seen = images.grad.square().sum((0, 1))
    at = (torch.arange(256) + 0.5) / stride
    middle = [float((seen.sum(axis) * at).sum() / seen.sum()) for axis in (1, 0)]
    assert middle == pytest.approx([9.5, 5.5], abs=0.15)


def test_tokens_are_the_features_of_the_network_row_by_row() -> None:
    torch.manual_seed(0)
    stem = TimmStem(TimmVision(timm="vit_tiny_patch16_224", out_index=2), 48, 16, 3, 192)
    with torch.no_grad():
        stem.proj.weight.copy_(torch.eye(192)[:, :, None, None])
        torch.nn.init.zeros_(stem.get_parameter("proj.bias"))
    pixels = torch.rand(2, 3, 48, 48)
    # This network wants pixels from -1 to 1.
    (wanted,) = stem.network.forward_intermediates(2 * pixels - 1, indices=[2], intermediates_only=True)
    tokens = stem(normalise_pixels(pixels))
    for row in range(3):
        for column in range(3):
            torch.testing.assert_close(tokens[:, 3 * row + column], wanted[:, :, row, column])


def test_layers_above_the_level_are_left_out() -> None:
    whole = sum(p.numel() for p in timm.create_model("tf_efficientnet_lite0").parameters())
    stem = TimmStem(TimmVision(timm="tf_efficientnet_lite0", out_index=3), 64, 16, 3, 4)
    assert sum(p.numel() for p in stem.network.parameters()) < whole / 4


def test_a_batch_does_not_change_the_statistics() -> None:
    model = timm_model().train()
    encoder = model.visual_encoder
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    assert any(name.endswith("running_var") for name in before)
    images = 3 * torch.randn(4, 3, 64, 64) + 1
    together = encoder(images)
    together.sum().backward()
    # A photo's tokens do not depend on the batch that it is in, in training neither.
    torch.testing.assert_close(together[:1], encoder(images[:1]))
    assert all(torch.equal(before[name], buffer) for name, buffer in encoder.named_buffers())
    scales = [p for name, p in encoder.named_parameters() if "bn" in name]
    assert scales
    assert all(p.grad is not None for p in scales)


def test_a_checkpoint_stands_without_the_files_it_started_from(tmp_path: Path) -> None:
    vision = TimmVision(timm=NETWORK, out_index=3, weights="gone.safetensors")
    model = Albef(timm_config(vision=vision), Tokenizer.of_words(WORDS)).eval()
    model.visual_encoder.patch_embed.network.bn1.running_mean += 0.5  # pyright: ignore[reportAttributeAccessIssue, reportOperatorIssue]
    save_checkpoint(model, tmp_path)
    assert "gone" not in (tmp_path / "config.json").read_text()
    assert load_config(tmp_path).vision == TimmVision(timm=NETWORK, out_index=3)
    loaded = load_checkpoint(tmp_path).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(loaded.visual_encoder(images), model.visual_encoder(images))


def test_heatmaps_have_the_grid_of_the_feature_map() -> None:
    maps = heatmaps(timm_model().eval(), torch.randn(1, 3, 64, 64), [["a red star", "a ring"]])
    assert maps.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("vision", "patch_size", "message"),
    [
        (TimmVision(timm="resnet18x"), 16, "timm has no network 'resnet18x'; did you mean resnet18"),
        (TimmVision(timm="hf-hub:timm/resnet18"), 16, "timm has no network 'hf-hub:timm/resnet18'"),
        (
            TimmVision(timm=NETWORK, out_index=5),
            16,
            "out_index: 5, but mobilenetv3_small_050 has 5 levels, of strides 2,",
        ),
        (
            TimmVision(timm=NETWORK),
            16,
            "patch_size: 16, but level 4 of mobilenetv3_small_050 has .* every 32 ",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(vision: TimmVision, patch_size: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Albef(timm_config(vision=vision, patch_size=patch_size))
    assert "\n" not in str(error.value)


def test_two_stems_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="stem convolution has no effect with vision"):
        timm_config(stem="convolution")


def test_the_published_layout_has_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.vision: the published layout knows"):
        export_published(timm_model(), tmp_path / "model.pth")
