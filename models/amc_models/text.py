"""Text encoder and fusion encoder: one BERT stack, its upper layers with cross attention to the image.

Module names follow the published checkpoints, so that a state dict here and there has the same keys.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from amc_models.config import AlbefConfig

LAYER_NORM_EPS = 1e-12

AttentionTap = Callable[[Tensor], Tensor]
"""Receives the attention probabilities and gives back those to go on with, so that they become a node of the graph."""


class KeysValues(NamedTuple):
    """Keys and values of an attention; of a cross attention, computed once an image and shared by its phrases."""

    keys: Float[Tensor, "sequences heads tokens head_width"]
    values: Float[Tensor, "sequences heads tokens head_width"]

    def of(self, index: Int[Tensor, " pairs"]) -> "KeysValues":
        """Keys and values of the image of each pair, where pairs do not follow their images in order."""
        return KeysValues(_rows(self.keys, index), _rows(self.values, index))


def _rows(tensor: Tensor, index: Int[Tensor, " pairs"]) -> Tensor:
    # An embedding lookup: its backward adds whole rows, several times faster on a CPU than that of index_select.
    return F.embedding(index, tensor.flatten(1)).unflatten(1, tensor.shape[1:])


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
        return KeysValues(self._split(self.key(source)), self._split(self.value(source)))

    def forward(
        self,
        hidden: Float[Tensor, "pairs length width"],
        source: KeysValues,
        mask: Bool[Tensor, "pairs length"] | None,
        *,
        fused: bool,
        tap: AttentionTap | None = None,
    ) -> Float[Tensor, "pairs length width"]:
        """Attend; `fused` attention has no second derivative, and a `tap` needs the probabilities.

        With fewer sequences in `source` than pairs, each of its sequences serves pairs / sequences consecutive pairs;
        their queries are laid behind each other. A tap still sees `pairs heads length tokens`.
        """
        pairs, sequences = hidden.shape[0], source.keys.shape[0]
        query = self._split(self.query(hidden.reshape(sequences, -1, hidden.shape[2])))
        if fused and tap is None:
            attended = F.scaled_dot_product_attention(
                query,
                source.keys,
                source.values,
                attn_mask=None if mask is None else mask[:, None, None, :],
                dropout_p=self.dropout.p if self.training else 0.0,
            )
            return attended.transpose(1, 2).reshape(hidden.shape)
        scores = query @ source.keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], -10000.0)
        probabilities = scores.softmax(dim=-1)
        if tap is not None:
            per_pair = probabilities.unflatten(2, (pairs // sequences, -1)).transpose(1, 2).flatten(0, 1)
            per_pair = tap(per_pair)
            probabilities = per_pair.unflatten(0, (sequences, -1)).transpose(1, 2).flatten(2, 3)
        return (self.dropout(probabilities) @ source.values).transpose(1, 2).reshape(hidden.shape)


class ResidualOutput(nn.Module):
    """LayerNorm(residual + dropout(dense(hidden))): the post-norm end of every BERT block."""

    def __init__(self, inner: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """Project, add, normalise."""
        return self.LayerNorm(self.dropout(self.dense(hidden)) + residual)


class AttentionBlock(nn.Module):
    """Attention and its residual output."""

    def __init__(self, config: AlbefConfig, source_width: int) -> None:
        super().__init__()
        self.self = SelfOrCrossAttention(config.text_width, config.text_heads, source_width, config.dropout)
        self.output = ResidualOutput(config.text_width, config.text_width, config.dropout)


class Intermediate(nn.Module):
    """First half of the feed-forward block, with the exact GELU."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.text_width, config.text_feedforward)

    def forward(self, hidden: Tensor) -> Tensor:
        """Widen."""
        return F.gelu(self.dense(hidden))


class Layer(nn.Module):
    """Self attention, cross attention in fusion layers, feed-forward."""

    def __init__(self, config: AlbefConfig, *, fusion: bool) -> None:
        super().__init__()
        self.attention = AttentionBlock(config, config.text_width)
        self.crossattention = AttentionBlock(config, config.vision_width) if fusion else None
        self.intermediate = Intermediate(config)
        self.output = ResidualOutput(config.text_feedforward, config.text_width, config.dropout)

    def forward(
        self,
        hidden: Float[Tensor, "pairs length width"],
        mask: Bool[Tensor, "pairs length"],
        image: KeysValues | None,
        *,
        fused: tuple[bool, bool],
        tap: AttentionTap | None = None,
    ) -> Float[Tensor, "pairs length width"]:
        """`fused` says it for self attention and for cross attention."""
        block = self.attention
        attended = block.self(hidden, block.self.keys_values(hidden), mask, fused=fused[0])
        hidden = block.output(attended, hidden)
        if self.crossattention is not None and image is not None:
            attended = self.crossattention.self(hidden, image, None, fused=fused[1], tap=tap)
            hidden = self.crossattention.output(attended, hidden)
        return self.output(self.intermediate(hidden), hidden)


class Embeddings(nn.Module):
    """Word + token type 0 + position, LayerNorm, dropout."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary_size, config.text_width, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_positions, config.text_width)
        self.token_type_embeddings = nn.Embedding(2, config.text_width)
        self.LayerNorm = nn.LayerNorm(config.text_width, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Int[Tensor, "pairs length"]) -> Float[Tensor, "pairs length width"]:
        """Embed."""
        length = input_ids.shape[1]
        words = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(words + self.position_embeddings.weight[:length]))


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            Layer(config, fusion=index >= config.fusion_layer) for index in range(config.text_layers)
        )


class Bert(nn.Module):
    """Embeddings and encoder, without pooler."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)


class Transform(nn.Module):
    """Dense, GELU, LayerNorm before the vocabulary."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.text_width, config.text_width)
        self.LayerNorm = nn.LayerNorm(config.text_width, eps=LAYER_NORM_EPS)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform."""
        return self.LayerNorm(F.gelu(self.dense(hidden)))


class Predictions(nn.Module):
    """Masked-language head; its decoder is the word embedding, its bias is its own."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))


class LanguageHead(nn.Module):
    """Holds `predictions`, as the published layout does."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.predictions = Predictions(config)


class TextEncoder(nn.Module):
    """Text layers, fusion layers and the masked-language head."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.cls = LanguageHead(config)
        self.apply(partial(_initialise, std=initial_std(config.text_width)))

    @property
    def fusion_layers(self) -> list[Layer]:
        """Layers with cross attention, from the first."""
        return list(self.bert.encoder.layer[self.config.fusion_layer :])  # pyright: ignore[reportReturnType]

    def encode(
        self, input_ids: Int[Tensor, "pairs length"], mask: Bool[Tensor, "pairs length"]
    ) -> Float[Tensor, "pairs length width"]:
        """Embeddings and text layers."""
        hidden = self.bert.embeddings(input_ids)
        for layer in self.bert.encoder.layer[: self.config.fusion_layer]:
            hidden = layer(hidden, mask, None, fused=(True, True))
        return hidden

    def image_keys_values(self, images: Float[Tensor, "images tokens channels"]) -> list[KeysValues]:
        """Keys and values of every fusion layer, once an image."""
        return [layer.crossattention.self.keys_values(images) for layer in self.fusion_layers]  # pyright: ignore[reportOptionalMemberAccess]

    def fuse(
        self,
        hidden: Float[Tensor, "pairs length width"],
        mask: Bool[Tensor, "pairs length"],
        images: list[KeysValues],
        tap: AttentionTap | None = None,
        tap_layer: int | None = None,
    ) -> Float[Tensor, "pairs length width"]:
        """Fusion layers. With a `tap`, it receives the cross attention of `tap_layer` (default: the config's), and
        all attention after it can be differentiated twice."""
        tapped = (self.config.gradcam_layer if tap_layer is None else tap_layer) - self.config.fusion_layer
        for index, (layer, image) in enumerate(zip(self.fusion_layers, images, strict=True)):
            fused = (tap is None or index <= tapped, tap is None or index < tapped)
            hidden = layer(hidden, mask, image, fused=fused, tap=tap if index == tapped else None)
        return hidden

    def predict_words(self, hidden: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens vocabulary"]:
        """Vocabulary logits; the decoder is tied to the word embedding."""
        head = self.cls.predictions
        return F.linear(head.transform(hidden), self.bert.embeddings.word_embeddings.weight, head.bias)


def initial_std(width: int) -> float:
    """BERT's 0.02 at its width of 768, scaled to keep the size of sums over fewer inputs."""
    return 0.02 * math.sqrt(768 / width)


def _initialise(module: nn.Module, std: float) -> None:
    """BERT's initialisation: normal, biases 0, LayerNorm 1."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx].data)
