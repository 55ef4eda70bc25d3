"""The short cuts of the step, each beside what it replaces, and the options that trade precision, memory and time."""

import math

import pytest
import torch
from tiny import tiny_batch, tiny_model
from torch import Tensor

from amc_models import attention
from amc_models.attention import KeysValues, lean_attention
from amc_models.batch import Batch
from amc_models.benchmarks.meters import kept_for_backward
from amc_models.benchmarks.synthetic import fixed_draws
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.masked_language import hidden_positions
from amc_models.objectives.total import Objectives
from amc_models.precision import _ONEDNN, autocast, fast_cpu_matmul, multiplies_with_onednn
from amc_models.recomputation import recomputed

CPU = torch.device("cpu")


def as_float(batch: Batch) -> Batch:
    floats = {name: getattr(batch, name).float() for name in ("images", "region_masks")}
    return Batch(**{**vars(batch), **floats})


def written_out(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    scores = query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores + (~mask)[:, None, None] * -10000.0
    return attention.attend(scores.softmax(-1), values, dropout)


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_lean_attention_in_slices(onednn: bool, dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SLICE", 2 * 3 * 5 * 7)  # two of the four sequences at a time
    torch.manual_seed(0)
    shapes = ((4, 3, 5, 8), (4, 3, 7, 8), (4, 3, 7, 8))
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    mask = torch.arange(7) < torch.tensor([7, 3, 5, 7])[:, None]
    results: list[list[Tensor]] = []
    for sliced in (True, False):
        torch.manual_seed(1)
        if sliced and onednn:
            with fast_cpu_matmul():
                attended = lean_attention(inputs[0], KeysValues(*inputs[1:]), mask, dropout)
        elif sliced:
            attended = lean_attention(inputs[0], KeysValues(*inputs[1:]), mask, dropout)
        else:
            # The same two slices, so that the same dropout is drawn.
            attended = torch.cat(
                [written_out(*(t[i : i + 2] for t in (*inputs, mask)), dropout=dropout) for i in (0, 2)]
            )
        # The backward pass draws the dropout of its recomputation anew; the stream outside must not notice.
        after = torch.rand(1)
        results.append([attended, after, *torch.autograd.grad(attended.sin().sum(), inputs)])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_takes_out_its_share_and_scales_what_is_left(share: float) -> None:
    torch.manual_seed(0)
    probabilities = torch.rand(3, 5, 7, 1001, requires_grad=True)
    kept = attention.attend(probabilities.detach() * 0 + 1, torch.eye(1001).expand(3, 5, -1, -1), share)
    count, left = kept.numel(), kept != 0
    assert left.sum().item() == pytest.approx(
        count * (1 - share), abs=5 * math.sqrt(count * share * (1 - share))
    )
    # 1 / (1 - p), with p in whole numbers of 2^-16.
    assert kept[left].unique().numel() == 1
    assert kept.max().item() == pytest.approx(1 / (1 - share), rel=2**-17 / (1 - share))
    # Neighbours, which come out of one number of 64 bits, know nothing of each other.
    both = (left[..., 1:] & left[..., :-1]).float().mean().item()
    assert both == pytest.approx((1 - share) ** 2, abs=0.01)
    # What is taken out has no gradient.
    torch.manual_seed(0)
    values = torch.ones(3, 5, 1001, 1)
    attention.attend(probabilities, values, share).sum().backward()
    assert probabilities.grad is not None
    torch.manual_seed(0)
    again = attention.attend(torch.ones_like(probabilities), torch.eye(1001).expand(3, 5, -1, -1), share)
    torch.testing.assert_close(probabilities.grad, again)


def test_pairs_attend_to_the_image_they_are_given() -> None:
    model = tiny_model()
    cross = model.text_encoder.fusion_layers[0].crossattention
    assert cross is not None
    source = cross.self.keys_values(torch.randn(3, 17, 16, dtype=torch.float64))
    hidden = torch.randn(4, 5, 16, dtype=torch.float64)
    index = torch.tensor([2, 0, 2, 1])
    copies = KeysValues(source.keys[index], source.values[index])
    for lean in (True, False):
        got = cross.self(hidden, source.of(index), None, lean=lean)
        torch.testing.assert_close(got, cross.self(hidden, copies, None, lean=lean))
        assert not torch.allclose(got[:3], cross.self(hidden[:3], source, None, lean=lean))


@pytest.mark.parametrize("tap_layer", [None, 1, 2])
def test_rows_of_the_last_layer_are_those_of_the_whole(tap_layer: int | None) -> None:
    model, batch = tiny_model(), tiny_batch()
    rows = torch.tensor([[0, 2], [3, 1], [0, 0], [2, 1], [1, 0], [2, 2]])
    images = model.text_encoder.image_keys_values(model.visual_encoder(batch.images))
    text = model.text_encoder.encode(batch.input_ids, batch.attention_mask)
    taps: list[Tensor] = []
    tap = None if tap_layer is None else lambda a: taps.append(a) or a
    whole, narrow = (
        model.text_encoder.fuse(text, batch.attention_mask, images, tap, tap_layer, rows=wanted)
        for wanted in (None, rows)
    )
    torch.testing.assert_close(narrow, whole.take_along_dim(rows[:, :, None], 1))
    # The heatmap is of all positions, whatever is read afterwards.
    assert [list(a.shape) for a in taps] == (
        [] if tap is None else [[6, 2, batch.input_ids.shape[1], 17]] * 2
    )


def test_hidden_positions() -> None:
    labels = torch.tensor([[-100, 5, -100, 6, -100], [-100] * 5, [-100, -100, -100, -100, 7]])
    rows = hidden_positions(labels)
    assert labels.take_along_dim(rows, 1).tolist() == [[5, 6], [-100, -100], [7, -100]]
    assert hidden_positions(labels[1:2]).shape == (1, 1)


@pytest.mark.parametrize(("named", "allowed_inside"), [("exclude", False), ("keep", True)])
def test_negatives_of_the_same_image_by_name(named: str, allowed_inside: bool) -> None:
    config = ObjectiveConfig.model_validate({"same_image_negatives": named})
    objectives, batch = Objectives(tiny_model(), config, 4), tiny_batch(images=2, per_image=2)
    batch.may_be_negative[0, 1] = False
    allowed = objectives._may_be_negative(batch)
    inside = [[False, allowed_inside], [allowed_inside, False]]
    assert allowed[:2, :2].tolist() == allowed[2:, 2:].tolist() == inside
    # What is known to hold for the other image stays out either way.
    assert allowed[:2, 2:].tolist() == [[False, False], [True, True]]
    drawn = [objectives._draw(None, allowed) for _ in range(40)]
    assert {int(negatives.image_of_text[1]) for negatives in drawn} == {2, 3} | (
        {0} if allowed_inside else set()
    )


def step(
    *, precision: str = "fp32", checkpointing: bool = False, dropout: float = 0.0
) -> tuple[dict[str, float], dict[str, Tensor], float]:
    """Losses, gradients and memory kept of a step in float32."""
    model, batch = tiny_model(dropout=dropout).float(), as_float(tiny_batch())
    model.checkpoint_activations(checkpointing)
    objectives = Objectives(model, ObjectiveConfig(), 4)
    torch.manual_seed(1)
    with kept_for_backward(model) as kept, autocast(CPU, precision):  # type: ignore[arg-type]
        losses = objectives(batch, 0.4, fixed_draws(batch, 4))
    losses["total"].backward()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: loss.item() for name, loss in losses.items()}, found, sum(kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointing_changes_memory_and_not_a_bit_of_the_numbers(precision: str) -> None:
    losses, gradients, kept = step(precision=precision, dropout=0.2)
    again, others, less = step(precision=precision, dropout=0.2, checkpointing=True)
    assert losses == again
    assert gradients.keys() == others.keys()
    assert [name for name, gradient in gradients.items() if not torch.equal(gradient, others[name])] == []
    assert less < 0.8 * kept


def test_bf16_stays_within_a_hundredth() -> None:
    losses, gradients, _ = step()
    rounded, others, _ = step(precision="bf16")
    for name in ("itc", "itm", "mlm", "amc"):
        assert rounded[name] == pytest.approx(losses[name], abs=0.01)
        assert rounded[name] != losses[name]
    for name in ("itm_head.weight", "visual_encoder.blocks.0.attn.qkv.weight"):
        wanted, got = gradients[name].flatten(), others[name].flatten()
        assert torch.cosine_similarity(got, wanted, dim=0) > 0.99
        assert not torch.equal(got, wanted)


def test_full_precision_inside_of_bf16() -> None:
    model, batch = tiny_model().float(), as_float(tiny_batch())
    objectives = Objectives(model, ObjectiveConfig(), 4)
    with autocast(CPU, "bf16"):
        encoded = objectives.encode(batch, None)
        logits, maps = objectives.positive(batch, encoded)
        similar = objectives._similarities(encoded.features, encoded.features)
        words = model.text_encoder.predict_words(encoded.text)
    assert maps is not None
    assert encoded.keys_values[0].keys.dtype == torch.bfloat16
    kept_whole = (logits, maps, similar.image_to_text, encoded.features[0], words)
    assert {value.dtype for value in kept_whole} == {torch.float32}


def test_fast_products_keep_float32_and_leave_no_trace() -> None:
    a, b = torch.randn(200, 300), torch.randn(300, 100)
    before = _ONEDNN.matmul.fp32_precision
    with fast_cpu_matmul():
        product, inside = a @ b, multiplies_with_onednn()
    assert _ONEDNN.matmul.fp32_precision == before
    exact = a.double() @ b.double()
    assert (product - exact).abs().max() < 2e-4
    if inside:
        assert not multiplies_with_onednn()


def test_recomputation_keeps_inputs_only() -> None:
    linear = torch.nn.Linear(4, 4)
    inputs = torch.randn(3, 4, requires_grad=True)

    def deep(x: Tensor) -> Tensor:
        return linear(linear(linear(x).sin()).cos()).exp()

    with kept_for_backward(linear) as much:
        wanted = torch.autograd.grad(deep(inputs).sum(), inputs)
    with kept_for_backward(linear) as little:
        result = recomputed(deep, inputs)
    assert sum(little.values()) == inputs.nbytes < sum(much.values())
    assert torch.equal(torch.autograd.grad(result.sum(), inputs)[0], wanted[0])
