"""Masked language modelling (MLM) with the image, distilled from the momentum network."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amc_models.batch import HiddenWords, MaskedText

IGNORED = -100

Predictor = Callable[[Tensor], Tensor]
"""Hidden states `*tokens width` to vocabulary logits `*tokens vocabulary`."""


class Among(NamedTuple):
    """Pairs among all those of a global batch, for which numbers are drawn whoever needs them."""

    pairs: int
    """All of them."""
    own: slice
    generator: torch.Generator


@torch.no_grad()
def mask_tokens(
    input_ids: Int[Tensor, "pairs length"],
    maskable: Bool[Tensor, "pairs length"],
    probability: float,
    mask_id: int,
    vocabulary_size: int,
    among: Among | None = None,
) -> MaskedText:
    """Hide tokens: each maskable one with `probability`; of those 80 % as [MASK], 10 % a random id, 10 % kept."""
    generator = among and among.generator
    pairs, own = (len(input_ids), slice(None)) if among is None else (among.pairs, among.own)
    shape, device = (pairs, input_ids.shape[1]), input_ids.device
    draw = partial(torch.rand, shape, device=device, generator=generator)
    chosen = (draw()[own] < probability) & maskable
    labels = torch.where(chosen, input_ids, IGNORED)
    kind = draw()[own]
    masked = torch.where(chosen & (kind < 0.8), mask_id, input_ids)
    random_ids = torch.randint(vocabulary_size, shape, device=device, generator=generator)[own]
    return MaskedText(torch.where(chosen & (kind >= 0.9), random_ids, masked), labels)


def hidden_positions(labels: Int[Tensor, "pairs length"]) -> Int[Tensor, "pairs rows"]:
    """Positions of the hidden words of each text, as many as the text with the most has; others fill up the rest."""
    hidden = labels != IGNORED
    most = max(1, int(hidden.sum(dim=1).max().item()))
    return hidden.int().argsort(dim=1, descending=True, stable=True)[:, :most]


def hidden_words(labels: Int[Tensor, "pairs length"], axis: Literal["vocabulary", "sequence"]) -> HiddenWords:
    """Where `labels` are hidden words, for a distillation along `axis`. Waits for a GPU on which they lie."""
    positions = hidden_positions(labels) if axis == "vocabulary" else None
    labels = labels if positions is None else labels.take_along_dim(positions, dim=1)
    pairs, rows = (labels != IGNORED).nonzero(as_tuple=True)
    return HiddenWords(positions, pairs, rows)


def word_loss(
    logits: Float[Tensor, "words vocabulary"],
    labels: Int[Tensor, " words"],
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy over the hidden words; zero, with a gradient, where none is hidden. `count` as below."""
    return F.cross_entropy(logits, labels, reduction="sum") / (
        max(labels.numel(), 1) if count is None else count
    )


def distillation_loss(
    log_probabilities: Float[Tensor, "words vocabulary"],
    momentum_logits: Float[Tensor, "words vocabulary"],
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Soft cross-entropy to the momentum network's words, mean over the hidden words. `count` as below."""
    total = -(momentum_logits.softmax(dim=-1) * log_probabilities).sum()
    return total / (max(log_probabilities.shape[0], 1) if count is None else count)


def masked_language_loss(
    student: Float[Tensor, "pairs length width"],
    momentum: Float[Tensor, "pairs length width"] | None,
    labels: Int[Tensor, "pairs length"],
    hidden: HiddenWords,
    predict: Predictor,
    predict_momentum: Predictor,
    alpha: float,
    axis: Literal["vocabulary", "sequence"],
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """L_mlm = (1 - alpha) * cross-entropy + alpha * distillation, over hidden words.

    `axis` is the one of distillation's log-softmax: `sequence` repeats the bug of the published code, which
    normalises over the text positions, padded ones included. `student`, `momentum` and `labels` are those of
    `hidden.positions`. `count`: what sums over words are divided by instead of
    their number here; the number that a share of the global batch has on average.
    """
    words = (hidden.pairs, hidden.rows)
    logits = predict(student[words])
    loss = word_loss(logits, labels[words], count)
    if momentum is None or alpha == 0:
        return loss
    if axis == "vocabulary":
        log_probabilities = logits.log_softmax(dim=-1)
    else:
        log_probabilities = predict(student).log_softmax(dim=1)[words]
    targets = predict_momentum(momentum[words])
    return (1 - alpha) * loss + alpha * distillation_loss(log_probabilities, targets, count)
