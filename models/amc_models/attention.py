"""Attention: lean, or written out where its probabilities or a second derivative are wanted."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from amc_models.precision import multiplies_with_onednn, widened
from amc_models.recomputation import recomputed

SLICE = 4 * 2**20
"""Probabilities computed at a time on a CPU; a block above 32 MiB would be taken from the system anew each time."""

Seen = Bool[Tensor, "sequences tokens"] | Bool[Tensor, "sequences queries tokens"]
"""Tokens that all queries of a sequence attend to, or each of them."""
AttentionTap = Callable[[Tensor], Tensor]
"""Receives the attention probabilities and gives back those to go on with, so that they become a node of the graph."""


class KeysValues(NamedTuple):
    """Keys and values of an attention; of a cross attention, computed once an image and shared by its phrases."""

    keys: Float[Tensor, "sequences heads tokens head_width"]
    values: Float[Tensor, "sequences heads tokens head_width"]
    sequence: Int[Tensor, " pairs"] | None = None
    """Sequence of each pair, where pairs do not follow their sequences in order."""

    def of(self, sequence: Int[Tensor, " pairs"]) -> "KeysValues":
        """For pairs that belong to these sequences; copied for each pair only while it is attended to."""
        return KeysValues(self.keys, self.values, sequence)

    def per_pair(self) -> "KeysValues":
        """With a copy for each pair, where pairs name their sequences."""
        if self.sequence is None:
            return self
        return KeysValues(_rows(self.keys, self.sequence), _rows(self.values, self.sequence))


class ByImage(NamedTuple):
    """Keys and values of images whose queries lie behind each other in one sequence, image by image."""

    source: KeysValues
    queries: Int[Tensor, "images most"]
    """Which queries an image has, and others where another has more."""
    place: Int[Tensor, " queries"]
    """Where in those each query is."""

    @classmethod
    def of(cls, source: KeysValues, image: Int[Tensor, " queries"]) -> "ByImage":
        """For queries of these images, given in their order."""
        counts = image.bincount(minlength=len(source.keys))
        starts, order = counts.cumsum(0) - counts, torch.arange(len(image), device=image.device)
        most = int(counts.max().item())
        queries = (starts[:, None] + order[:most]).clamp(max=len(image) - 1)
        return cls(source, queries, image * most + order - starts[image])


def _rows(tensor: Tensor, index: Int[Tensor, "*rows"]) -> Tensor:
    # An embedding lookup: its backward adds whole rows, several times faster on a CPU than that of index_select.
    return F.embedding(index, tensor.flatten(1)).unflatten(-1, tensor.shape[1:])


class SelfOrCrossAttention(nn.Module):
    """softmax(QK'/sqrt(d) + mask)V over heads; keys and values from `source_width` wide tokens."""

    def __init__(self, width: int, heads: int, source_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source_width, width)
        self.value = nn.Linear(source_width, width)
        self.dropout = nn.Dropout(dropout)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, source: Float[Tensor, "sequences tokens source_width"]) -> KeysValues:
        """Keys and values of `source`, split into heads."""
        # Contiguous once, or every product with them would make and keep a copy of its own.
        return KeysValues(
            self._split(self.key(source)).contiguous(), self._split(self.value(source)).contiguous()
        )

    def forward(
        self,
        hidden: Float[Tensor, "pairs queries width"],
        source: KeysValues | list[KeysValues] | ByImage,
        mask: Bool[Tensor, "pairs keys"] | Bool[Tensor, "pairs queries keys"] | None,
        *,
        lean: bool,
        tap: AttentionTap | None = None,
    ) -> Float[Tensor, "pairs queries width"]:
        """Attend; `lean` attention has no second derivative, and a `tap` needs the probabilities.

        With fewer sequences in `source` than pairs, each of its sequences serves pairs / sequences consecutive pairs;
        their queries are laid behind each other. A tap still sees `pairs heads queries tokens`. With a list, the pairs
        are as many equal groups, one behind the other, each with a source of its own and no mask. `ByImage` is for one
        sequence; its tap sees `images heads most tokens`.
        """
        query = self.query(hidden)
        if isinstance(source, ByImage):
            attended = self._attend(_rows(query[0], source.queries), source.source, None, lean, tap)
            return _rows(attended.flatten(0, 1), source.place)[None]
        if not isinstance(source, list):
            return self._attend(query, source, mask, lean, tap)
        groups = zip(query.chunk(len(source)), source, strict=True)
        return torch.cat([self._attend(part, of_part, None, lean, tap) for part, of_part in groups])

    def _attend(
        self, query: Tensor, source: KeysValues, mask: Tensor | None, lean: bool, tap: AttentionTap | None
    ) -> Float[Tensor, "pairs queries width"]:
        shape, pairs = query.shape, len(query)
        dropout = self.dropout.p if self.training else 0.0
        sequences = len(source.keys) if source.sequence is None else pairs
        query = self._split(query.reshape(sequences, -1, shape[2]))
        if lean and tap is None:
            attended = lean_attention(query, source, mask, dropout)
        else:
            keys, values, _ = source.per_pair()
            probabilities = _probabilities(query, keys, mask)
            if tap is not None:
                per_pair = probabilities.unflatten(2, (pairs // sequences, -1)).transpose(1, 2).flatten(0, 1)
                probabilities = tap(per_pair).unflatten(0, (sequences, -1)).transpose(1, 2).flatten(2, 3)
            attended = attend(probabilities, values, dropout)
        return attended.transpose(1, 2).reshape(shape)


def lean_attention(
    query: Float[Tensor, "sequences heads queries head_width"],
    source: KeysValues,
    mask: Seen | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "sequences heads queries head_width"]:
    """Attention of which neither probabilities nor copied keys are kept for the backward pass.

    By torch's fused kernel where that is the faster one; elsewhere written out and computed twice. On a CPU the kernel
    knows no dropout, takes twice as long in bfloat16, and cuts products into blocks too small for oneDNN.
    """
    fused = query.is_cuda or not (dropout or query.dtype == torch.bfloat16 or multiplies_with_onednn())

    def product(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        keys, values, _ = KeysValues(keys, values, source.sequence).per_pair()
        if not fused:
            return _written_out(query, keys, values, mask, dropout)
        seen = None if mask is None else _over_heads(mask)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=seen, dropout_p=dropout)

    if fused and source.sequence is None:
        return product(query, source.keys, source.values)
    return recomputed(product, query, source.keys, source.values, dropout=dropout > 0)


def _written_out(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dropout: float
) -> Float[Tensor, "sequences heads queries head_width"]:
    """A slice of the sequences at a time, where all their probabilities would be too large a block of memory."""
    count, heads, queries, _ = query.shape
    size = max(1, SLICE // (heads * queries * keys.shape[2]))
    masks = [None] * count if mask is None else mask.split(size)
    slices = zip(query.split(size), keys.split(size), values.split(size), masks, strict=False)
    attended = [attend(_probabilities(q, k, m), v, dropout) for q, k, v, m in slices]
    return attended[0] if size >= count else torch.cat(attended)


def attend(
    probabilities: Float[Tensor, "sequences heads queries tokens"],
    values: Float[Tensor, "sequences heads tokens head_width"],
    dropout: float,
) -> Float[Tensor, "sequences heads queries head_width"]:
    """Values by their probabilities, of which `dropout` are taken out.

    On a CPU torch draws 64 random bits for each, 5 ns long; 16 do, in under 1 ns. They say p to 2^-17, and what is left
    is scaled by what was said.
    """
    if not dropout or probabilities.device.type != "cpu":
        return F.dropout(probabilities, dropout) @ values
    out = min(round(dropout * 2**16), 2**16 - 1)
    bits = torch.empty(-(-probabilities.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    drawn = bits.view(torch.int16)[: probabilities.numel()].view(probabilities.shape)
    return probabilities.masked_fill(drawn < out - 2**15, 0.0) @ values / (1 - out / 2**16)


def _probabilities(
    query: Float[Tensor, "sequences heads queries head_width"],
    keys: Float[Tensor, "sequences heads tokens head_width"],
    mask: Seen | None,
) -> Float[Tensor, "sequences heads queries tokens"]:
    """Attention written out; the softmax never in less than float32."""
    scores = query / math.sqrt(query.shape[-1]) @ keys.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~_over_heads(mask), -10000.0)
    return widened(scores).softmax(dim=-1)


def _over_heads(mask: Tensor) -> Tensor:
    """The same for all heads, and for all queries where it does not tell them apart."""
    return mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
