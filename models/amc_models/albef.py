"""The whole network: image encoder, text and fusion encoder, heads, momentum copies and queues."""

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.momentum import enqueue, gather_ranks, update_average
from amc_models.precision import full_precision, widened
from amc_models.text import TextEncoder
from amc_models.tokenizer import Tokenizer
from amc_models.vision import ImageEncoder

M = TypeVar("M", bound=nn.Module)

TEMPERATURE_RANGE = (0.001, 0.5)


class Albef(nn.Module):
    """ALBEF (Li et al., 2021) with the state-dict layout of the published checkpoints."""

    image_queue: Tensor
    text_queue: Tensor
    queue_ptr_img: Tensor
    queue_ptr_txt: Tensor

    def __init__(self, config: AlbefConfig, tokenizer: Tokenizer | None = None) -> None:
        super().__init__()
        if tokenizer is not None and len(tokenizer.vocabulary) != config.vocabulary_size:
            raise InputError(
                f"vocabulary: {len(tokenizer.vocabulary)} entries, but the network has {config.vocabulary_size} "
                "(model.vocabulary_size); give the vocabulary it was trained with"
            )
        self.config = config
        self.tokenizer = tokenizer
        self.visual_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.vision_proj = nn.Linear(config.vision_width, config.embedding_size)
        self.text_proj = nn.Linear(config.text_width, config.embedding_size)
        self.itm_head = nn.Linear(config.text_width, 2)
        self.temp = nn.Parameter(torch.tensor(config.temperature))
        self.visual_encoder_m = _frozen_copy(self.visual_encoder)
        self.vision_proj_m = _frozen_copy(self.vision_proj)
        self.text_encoder_m = _frozen_copy(self.text_encoder)
        self.text_proj_m = _frozen_copy(self.text_proj)
        for name in ("image_queue", "text_queue"):
            queue = F.normalize(torch.randn(config.embedding_size, config.queue_size), dim=0)
            self.register_buffer(name, queue)
        for name in ("queue_ptr_img", "queue_ptr_txt"):
            self.register_buffer(name, torch.zeros(1, dtype=torch.long))

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """(momentum copy, online module)."""
        return [
            (self.visual_encoder_m, self.visual_encoder),
            (self.vision_proj_m, self.vision_proj),
            (self.text_encoder_m, self.text_encoder),
            (self.text_proj_m, self.text_proj),
        ]

    def update_momentum(self) -> None:
        """One step of the moving averages (m of the config)."""
        for average, online in self.momentum_pairs:
            update_average(average, online, self.config.momentum)

    def reset_momentum(self) -> None:
        """Momentum copies equal to the online modules."""
        for average, online in self.momentum_pairs:
            average.load_state_dict(online.state_dict())

    def encode_image(
        self, images: Float[Tensor, "images 3 height width"], *, momentum: bool = False
    ) -> tuple[Float[Tensor, "images tokens channels"], Float[Tensor, "images embedding"]]:
        """Image tokens and the unit-norm contrastive feature of their CLS."""
        encoder = self.visual_encoder_m if momentum else self.visual_encoder
        project = self.vision_proj_m if momentum else self.vision_proj
        tokens = encoder(images)
        return tokens, _feature(project, tokens)

    def encode_text(
        self,
        input_ids: Int[Tensor, "pairs length"],
        mask: Bool[Tensor, "pairs length"],
        *,
        momentum: bool = False,
    ) -> tuple[Float[Tensor, "pairs length width"], Float[Tensor, "pairs embedding"]]:
        """Text tokens (before fusion) and the unit-norm contrastive feature of their CLS."""
        encoder = self.text_encoder_m if momentum else self.text_encoder
        project = self.text_proj_m if momentum else self.text_proj
        hidden = encoder.encode(input_ids, mask)
        return hidden, _feature(project, hidden)

    def match(self, fused: Float[Tensor, "pairs length width"]) -> Float[Tensor, "pairs 2"]:
        """Match logits of fused states, read off their CLS, in full precision; class 1 is a match."""
        with full_precision(fused.device):
            return self.itm_head(widened(fused[:, 0]))

    def checkpoint_activations(self, wanted: bool) -> None:
        """Whether the backward pass computes the inside of every layer again instead of keeping it.

        Layers through which a heatmap's second derivative passes are never checkpointed. Numbers do not change.
        """
        self.visual_encoder.activation_checkpointing = wanted
        self.text_encoder.activation_checkpointing = wanted

    def compile_image_encoder(self) -> None:
        """Compile the blocks of the image encoder and of its momentum copy for this processor, at their first use.

        Raises InputError where torch.compile cannot run.
        """
        try:
            torch.compile(nn.GELU())(torch.ones(1, device=self.temp.device))
        except Exception as error:
            raise InputError(
                f"training.compile_image_encoder: torch.compile cannot run here ({str(error).splitlines()[0]}); "
                "install a C++ compiler, or say false"
            ) from error
        for encoder in (self.visual_encoder, self.visual_encoder_m):
            for block in encoder.blocks:
                block.compile()

    def clamp_temperature(self) -> None:
        """Keep the temperature in its range, as published at the start of every step."""
        with torch.no_grad():
            self.temp.clamp_(*TEMPERATURE_RANGE)

    def enqueue(
        self,
        image_features: Float[Tensor, "pairs embedding"],
        text_features: Float[Tensor, "pairs embedding"],
        wanted: Bool[Tensor, ""] | None = None,
    ) -> None:
        """Add the momentum features of all ranks to the queues, unless `wanted` is false."""
        enqueue(self.image_queue, self.queue_ptr_img, gather_ranks(image_features), wanted)
        enqueue(self.text_queue, self.queue_ptr_txt, gather_ranks(text_features), wanted)

    def tokenize(
        self, texts: Sequence[str]
    ) -> tuple[Int[Tensor, "pairs length"], Bool[Tensor, "pairs length"]]:
        """Token ids and mask on the network's device, padded to the longest, never cut."""
        if self.tokenizer is None:
            raise InputError(
                "this network has no vocabulary; give one (--vocabulary, load_checkpoint(path, vocabulary=...)), "
                "or a checkpoint folder with vocab.txt"
            )
        tokens = self.tokenizer.batch(texts, max_length=self.config.max_positions, truncate=False)
        device = self.temp.device
        return tokens.input_ids.to(device), tokens.attention_mask.to(device)


def _feature(
    project: nn.Module, tokens: Float[Tensor, "sequences length width"]
) -> Float[Tensor, "sequences embedding"]:
    """Unit-norm projection of the CLS, in full precision."""
    with full_precision(tokens.device):
        return F.normalize(project(widened(tokens[:, 0])), dim=-1)


def _frozen_copy(module: M) -> M:
    clone = copy.deepcopy(module)
    return clone.requires_grad_(False)
