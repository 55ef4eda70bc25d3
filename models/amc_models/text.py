"""Text encoder and fusion encoder: one BERT stack, its upper layers with cross attention to the image.

Module names follow the published checkpoints, so that a state dict here and there has the same keys.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from amc_models.attention import AttentionTap, ByImage, KeysValues, SelfOrCrossAttention
from amc_models.config import AlbefConfig
from amc_models.precision import full_precision, widened
from amc_models.recomputation import recomputed

LAYER_NORM_EPS = 1e-12

Images = KeysValues | list[KeysValues] | ByImage
"""What a fusion layer attends to (see SelfOrCrossAttention)."""
Mask = Bool[Tensor, "pairs length"] | Bool[Tensor, "pairs length length"]
"""Tokens that are seen by all of their sequence, or by each of its tokens."""


class ResidualOutput(nn.Module):
    """LayerNorm(residual + dropout(dense(hidden))): the post-norm end of every BERT block."""

    def __init__(self, inner: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """Project, add, normalise."""
        return self.join(self.dense(hidden), residual)

    def join(self, projected: Tensor, residual: Tensor) -> Tensor:
        """Add and normalise."""
        return self.LayerNorm(self.dropout(projected) + residual)


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
        mask: Mask,
        image: Images | None,
        *,
        lean: tuple[bool, bool],
        tap: AttentionTap | None = None,
        rows: Int[Tensor, "pairs rows"] | None = None,
    ) -> Float[Tensor, "pairs rows_or_length width"]:
        """`lean`: of self and of cross attention. With `rows`, the states of those positions only."""
        block = self.attention
        queries = hidden if tap is not None else _at(hidden, rows)
        seen = mask if mask.ndim == 2 or tap is not None else _at(mask, rows)
        attended = block.self(queries, block.self.keys_values(hidden), seen, lean=lean[0])
        hidden = block.output(attended, queries)
        if self.crossattention is not None and image is not None:
            attended = self.crossattention.self(hidden, image, None, lean=lean[1], tap=tap)
            hidden = self.crossattention.output(attended, hidden)
        # The heatmap is of every position, so that a tapped layer narrows only after its attention.
        hidden = hidden if tap is None else _at(hidden, rows)
        if not all(lean):
            return self.output(self.intermediate(hidden), hidden)
        # Once differentiable, the output of the GELU is cheaper made again than kept.
        wide = self.intermediate.dense(hidden)
        return self.output.join(recomputed(lambda x: self.output.dense(F.gelu(x)), wide), hidden)


def _at(hidden: Tensor, rows: Tensor | None) -> Tensor:
    return hidden if rows is None else hidden.take_along_dim(rows[:, :, None], dim=1)


class Embeddings(nn.Module):
    """Word + token type 0 + position, LayerNorm, dropout."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary_size, config.text_width, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_positions, config.text_width)
        self.token_type_embeddings = nn.Embedding(2, config.text_width)
        self.LayerNorm = nn.LayerNorm(config.text_width, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, input_ids: Int[Tensor, "pairs length"], positions: Int[Tensor, "pairs length"] | None = None
    ) -> Float[Tensor, "pairs length width"]:
        """Embed, by default from position 0 on."""
        places = self.position_embeddings.weight
        places = places[: input_ids.shape[1]] if positions is None else places[positions]
        words = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(words + places))


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
        self.activation_checkpointing = False
        self.apply(partial(_initialise, std=initial_std(config.text_width)))

    @property
    def text_layers(self) -> list[Layer]:
        """Layers without cross attention."""
        return list(self.bert.encoder.layer[: self.config.fusion_layer])  # pyright: ignore[reportReturnType]

    @property
    def fusion_layers(self) -> list[Layer]:
        """Layers with cross attention, from the first."""
        return list(self.bert.encoder.layer[self.config.fusion_layer :])  # pyright: ignore[reportReturnType]

    def encode(
        self,
        input_ids: Int[Tensor, "pairs length"],
        mask: Mask,
        positions: Int[Tensor, "pairs length"] | None = None,
    ) -> Float[Tensor, "pairs length width"]:
        """Embeddings and text layers."""
        hidden = self.bert.embeddings(input_ids, positions)
        for layer in self.text_layers:
            hidden = self._run(layer, hidden, mask, None, lean=(True, True))
        return hidden

    def image_keys_values(self, images: Float[Tensor, "images tokens channels"]) -> list[KeysValues]:
        """Keys and values of every fusion layer, once an image."""
        return [layer.crossattention.self.keys_values(images) for layer in self.fusion_layers]  # pyright: ignore[reportOptionalMemberAccess]

    def fuse(
        self,
        hidden: Float[Tensor, "pairs length width"],
        mask: Mask,
        images: Sequence[Images],
        tap: AttentionTap | None = None,
        tap_layer: int | None = None,
        rows: Int[Tensor, "pairs rows"] | None = None,
    ) -> Float[Tensor, "pairs rows_or_length width"]:
        """Fusion layers, each with its keys and values (or those of groups of pairs, see SelfOrCrossAttention).

        With a `tap`, it receives the cross attention of `tap_layer` (default: the config's), and all attention after it
        can be differentiated twice. With `rows`, the last layer computes only the states of those positions; nothing
        after it reads the others.
        """
        tapped = (self.config.gradcam_layer if tap_layer is None else tap_layer) - self.config.fusion_layer
        for index, (layer, image) in enumerate(zip(self.fusion_layers, images, strict=True)):
            hidden = self._run(
                layer,
                hidden,
                mask,
                image,
                lean=(tap is None or index <= tapped, tap is None or index < tapped),
                tap=tap if index == tapped else None,
                rows=rows if index == len(images) - 1 else None,
            )
        return hidden

    def _run(
        self,
        layer: Layer,
        hidden: Tensor,
        mask: Tensor,
        image: Images | None,
        **options: Any,
    ) -> Tensor:
        """The layer, checkpointed where that is asked for and no second derivative passes."""
        if not (self.activation_checkpointing and all(options["lean"])):
            return layer(hidden, mask, image, **options)

        return recomputed(partial(layer, mask=mask, image=image, **options), hidden, dropout=self.training)

    def predict_words(self, hidden: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens vocabulary"]:
        """Vocabulary logits, in full precision; the decoder is tied to the word embedding."""
        head = self.cls.predictions
        with full_precision(hidden.device):
            words = head.transform(widened(hidden))
            return F.linear(words, self.bert.embeddings.word_embeddings.weight, head.bias)


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
