"""Heatmaps of evaluation: equal to the plain way, whatever else is in their batch."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORDS, tiny_model

from amc_models.benchmarks.reference_heatmaps import reference_heatmaps
from amc_models.gradcam import TOKENS_PER_PASS, heatmaps, passes

PHRASES = ["a", "red star", "a blue ring on the left", "the ring", "a red star on the left"]


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", [1, 2])
def test_heatmaps_are_those_of_the_plain_way(layer: int) -> None:
    model = tiny_model(gradcam_layer=layer).eval()
    texts = [PHRASES, [], PHRASES[1:3], ["a star"] * 9]
    fast = heatmaps(model, images(4), texts)
    plain = reference_heatmaps(model, images(4), texts)
    assert fast.abs().max() > 1e-6
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-16)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_float32_is_near_enough() -> None:
    model = tiny_model().float().eval()
    fast, plain = (
        way(model, images(2).float(), [PHRASES, PHRASES]) for way in (heatmaps, reference_heatmaps)
    )
    deviation = (fast - plain).abs().flatten(1).amax(1) / plain.abs().flatten(1).amax(1)
    assert deviation.max() < 1e-5


@settings(max_examples=20)
@given(
    st.lists(
        st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join), max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_a_map_does_not_depend_on_its_batch(texts: list[list[str]]) -> None:
    model, pixels = tiny_model().eval(), images(len(texts))
    together = heatmaps(model, pixels, texts)
    alone = [heatmaps(model, pixels[i : i + 1], [[text]]) for i, of in enumerate(texts) for text in of]
    torch.testing.assert_close(together, torch.cat([together[:0], *alone]), rtol=1e-9, atol=1e-16)


@settings(max_examples=20)
@given(st.permutations(PHRASES))
def test_any_order_of_phrases_gives_the_same_maps(order: list[str]) -> None:
    model = tiny_model().eval()
    given_order = dict(zip(order, heatmaps(model, images(1), [order]), strict=True))
    first_order = dict(zip(PHRASES, heatmaps(model, images(1), [PHRASES]), strict=True))
    for text in PHRASES:
        torch.testing.assert_close(given_order[text], first_order[text], rtol=1e-9, atol=1e-16)


def test_a_network_in_training_is_evaluated_and_goes_on_training() -> None:
    model = tiny_model(dropout=0.5).train()
    evaluated = heatmaps(model, images(1), [PHRASES])
    assert model.training
    assert torch.equal(evaluated, heatmaps(model.eval(), images(1), [PHRASES]))


@given(st.lists(st.integers(1, 400), max_size=200))
def test_pairs_are_fused_in_order_as_long_as_there_is_room(lengths: list[int]) -> None:
    parts = [lengths[pairs] for pairs in passes(lengths)]
    assert [length for part in parts for length in part] == lengths
    assert all(sum(part) <= TOKENS_PER_PASS or len(part) == 1 for part in parts)
    # No two could have been one.
    for part, following in itertools.pairwise(parts):
        assert sum(part) + following[0] > TOKENS_PER_PASS


def test_passes_by_hand() -> None:
    assert passes([200, 56, 1, 300, 5]) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]


def test_many_passes_give_the_maps_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = tiny_model().eval(), [PHRASES, [], PHRASES[:2], PHRASES[3:]]
    at_once = heatmaps(model, images(4), texts)
    monkeypatch.setattr("amc_models.gradcam.TOKENS_PER_PASS", 7)
    torch.testing.assert_close(heatmaps(model, images(4), texts), at_once, rtol=1e-9, atol=1e-16)
