"""The training step in its plainest form, on the weights of an `Albef`: what the fast path is compared with.

The same mathematics as `objectives/total.py` without any of its short cuts: every attention is written out, an image
is encoded anew for each of its phrases, keys and values anew for each pass, the vocabulary head reads all positions,
moving averages go tensor by tensor, negatives are drawn row by row and queues are copied.
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from amc_models.albef import Albef
from amc_models.batch import Batch, Draws, MaskedText, Negatives
from amc_models.gradcam import normalise, upsample
from amc_models.objectives.attention_mask import attention_mask_loss
from amc_models.objectives.config import NoAttentionMask, ObjectiveConfig
from amc_models.objectives.masked_language import mask_tokens
from amc_models.text import Layer, SelfOrCrossAttention, TextEncoder
from amc_models.vision import ImageEncoder

Hidden = Float[Tensor, "pairs length width"]
Scores = Float[Tensor, "pairs columns"]


class ReferenceObjectives(nn.Module):
    """Losses of a step by name and `total`; called as `Objectives` is."""

    def __init__(self, model: Albef, config: ObjectiveConfig, mask_token_id: int) -> None:
        super().__init__()
        self.model, self.config, self.mask_token_id = model, config, mask_token_id
        self.keys: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Batch, alpha: float, draws: Draws | None = None) -> dict[str, Tensor]:
        """Losses by name, unweighted, and `total`."""
        model, config, draws = self.model, self.config, draws or Draws()
        model.clamp_temperature()
        pixels = batch.images[batch.image_index]
        image = encode_image(model.visual_encoder, pixels)
        text = encode_text(model.text_encoder, batch.input_ids, batch.attention_mask)
        features = (
            F.normalize(model.vision_proj(image[:, 0]), dim=-1),
            F.normalize(model.text_proj(text[:, 0]), dim=-1),
        )
        if self.training:
            self._update_averages()
        with torch.no_grad():
            image_m = encode_image(model.visual_encoder_m, pixels)
            text_m = encode_text(model.text_encoder_m, batch.input_ids, batch.attention_mask)
            image_keys = F.normalize(model.vision_proj_m(image_m[:, 0]), dim=-1)
            text_keys = F.normalize(model.text_proj_m(text_m[:, 0]), dim=-1)
            self.keys = image_keys, text_keys
        allowed = batch.may_be_negative[:, batch.image_index]
        if config.same_image_negatives == "keep":
            same = batch.image_index[:, None] == batch.image_index
            allowed = allowed | (same & ~torch.eye(len(same), dtype=torch.bool, device=same.device))
        scores, targets = self._scores(*features), self._scores(*self.keys)
        losses = {"itc": self._contrast(scores, targets, allowed, alpha)}
        drawn = draws.negatives or self._draw(*scores, allowed)
        losses |= self._matching(batch, image, text, drawn)
        losses["mlm"] = self._words(batch, image, image_m, alpha, draws.masked)
        amc = 0.0 if isinstance(config.amc, NoAttentionMask) else config.amc.weight
        weights = {"itc": config.itc, "itm": config.itm, "mlm": config.mlm, "amc": amc}
        losses["total"] = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return losses

    @torch.no_grad()
    def _update_averages(self) -> None:
        momentum = self.model.config.momentum
        for average, online in self.model.momentum_pairs:
            for mean, parameter in zip(average.parameters(), online.parameters(), strict=True):
                mean.data = mean.data * momentum + parameter.data * (1 - momentum)

    @torch.no_grad()
    def update_queues(self) -> None:
        """Enqueue the momentum features of the last forward, one by one."""
        assert self.keys is not None
        queues = (self.model.image_queue, self.model.text_queue)
        pointers = (self.model.queue_ptr_img, self.model.queue_ptr_txt)
        for queue, pointer, keys in zip(queues, pointers, self.keys, strict=True):
            for key in keys:
                queue[:, pointer] = key[:, None]
                pointer.copy_((pointer + 1) % queue.shape[1])

    def _scores(self, image: Tensor, text: Tensor) -> tuple[Scores, Scores]:
        """Image to text and text to image, against the momentum features of the batch and a copy of the queues."""
        assert self.keys is not None
        image_keys, text_keys = self.keys
        texts = torch.cat([text_keys.T, self.model.text_queue.clone()], dim=1)
        images = torch.cat([image_keys.T, self.model.image_queue.clone()], dim=1)
        return image @ texts / self.model.temp, text @ images / self.model.temp

    @staticmethod
    def _contrast(
        online: tuple[Scores, Scores],
        momentum: tuple[Scores, Scores],
        allowed: Bool[Tensor, "pairs pairs"],
        alpha: float,
    ) -> Float[Tensor, ""]:
        pairs = len(allowed)
        own = torch.eye(pairs, dtype=torch.bool, device=allowed.device)
        known = ~allowed & ~own
        losses: list[Tensor] = []
        for scores, keys, out in zip(online, momentum, (known.T, known), strict=True):
            out = F.pad(out, (0, scores.shape[1] - pairs))
            scores, keys = scores.masked_fill(out, -1e4), keys.masked_fill(out, -1e4)
            targets = torch.zeros_like(scores)
            targets[:, :pairs] = own.to(scores.dtype)
            targets = alpha * keys.detach().softmax(dim=1) + (1 - alpha) * targets
            losses.append(-(scores.log_softmax(dim=1) * targets).sum(dim=1).mean())
        return (losses[0] + losses[1]) / 2

    @torch.no_grad()
    def _draw(
        self, image_to_text: Scores, text_to_image: Scores, allowed: Bool[Tensor, "pairs pairs"]
    ) -> Negatives:
        """Row by row, as the published loop does."""
        pairs = len(allowed)

        def draw(scores: Scores, may: Tensor) -> Tensor:
            scores = torch.zeros_like(scores) if self.config.negatives == "uniform" else scores
            weights = scores[:, :pairs].softmax(dim=1).masked_fill(~may, 0.0)
            rows = [int(torch.multinomial(row, 1).item()) if row.any() else -1 for row in weights]
            return torch.tensor(rows, device=may.device)

        return Negatives(draw(text_to_image, allowed), draw(image_to_text, allowed.T))

    def _matching(self, batch: Batch, image: Tensor, text: Hidden, drawn: Negatives) -> dict[str, Tensor]:
        """L_itm over positives and both kinds of negatives, and L_amc on the positives."""
        online, mask = self.model.text_encoder, batch.attention_mask
        taps: list[Tensor] = []
        positive = self.model.itm_head(fuse(online, text, mask, image, taps)[:, 0])
        others = drawn.image_of_text.clamp(min=0), drawn.text_of_image.clamp(min=0)
        negative = fuse(
            online,
            torch.cat([text, text[others[1]]]),
            torch.cat([mask, mask[others[1]]]),
            torch.cat([image[others[0]], image]),
        )
        logits = torch.cat([positive, self.model.itm_head(negative[:, 0])])
        exists = torch.cat([drawn.image_of_text, drawn.text_of_image]) >= 0
        labels = torch.cat([torch.ones_like(mask[:, 0]).long(), torch.where(exists, 0, -100)])
        losses = {"itm": F.cross_entropy(logits, labels)}
        amc = self.config.amc
        if not isinstance(amc, NoAttentionMask):
            attention = taps[self.model.config.gradcam_layer - self.model.config.fusion_layer]
            match = positive[:, 1] if amc.gradient == "logit" else positive.log_softmax(dim=1)[:, 1]
            (gradient,) = torch.autograd.grad(match.sum(), attention, create_graph=True)
            seen = mask[:, None, :, None]
            maps = ((attention * seen) * (gradient.clamp(min=0) * seen))[..., 1:].mean(dim=1).mean(dim=1)
            maps = maps.unflatten(1, (self.model.config.grid_size, -1))[batch.has_region]
            maps = upsample(normalise(maps) if amc.normalise else maps, batch.region_masks.shape[-1])
            losses["amc"] = attention_mask_loss(maps, batch.region_masks[batch.has_region], amc)
        return losses

    def _words(
        self, batch: Batch, image: Tensor, image_m: Tensor, alpha: float, given: MaskedText | None
    ) -> Float[Tensor, ""]:
        """L_mlm with logits at every position."""
        config, model = self.config, self.model
        size = model.config.vocabulary_size
        masked = given or mask_tokens(
            batch.input_ids, batch.maskable, config.mask_probability, self.mask_token_id, size
        )

        def logits(encoder: TextEncoder, image: Tensor) -> Float[Tensor, "pairs length vocabulary"]:
            text = encode_text(encoder, masked.input_ids, batch.attention_mask)
            return encoder.predict_words(fuse(encoder, text, batch.attention_mask, image))

        with torch.no_grad():
            targets = logits(model.text_encoder_m, image_m).softmax(dim=-1)
        words = logits(model.text_encoder, image)
        loss = F.cross_entropy(words.flatten(0, 1), masked.labels.flatten())
        axis = -1 if config.distillation_axis == "vocabulary" else 1
        distillation = -(words.log_softmax(dim=axis) * targets).sum(dim=-1)[masked.labels != -100].mean()
        return (1 - alpha) * loss + alpha * distillation


def encode_image(
    encoder: ImageEncoder, images: Float[Tensor, "pairs 3 height width"]
) -> Float[Tensor, "pairs tokens channels"]:
    """The ViT with its attention written out."""
    assert encoder.pos_embed is not None
    assert encoder.cls_token is not None
    patches = encoder.patch_embed(images)
    hidden = torch.cat([encoder.cls_token.expand(len(images), -1, -1), patches], dim=1) + encoder.pos_embed
    block: Any
    for block in encoder.blocks:
        attention = block.attn
        qkv = attention.qkv(block.norm1(hidden)).unflatten(-1, (3, attention.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        hidden = hidden + attention.proj((weights @ value).transpose(1, 2).flatten(2))
        hidden = hidden + block.mlp(block.norm2(hidden))
    return encoder.norm(hidden)


def encode_text(
    encoder: TextEncoder, input_ids: Int[Tensor, "pairs length"], mask: Bool[Tensor, "pairs length"]
) -> Hidden:
    """Embeddings and text layers."""
    hidden = encoder.bert.embeddings(input_ids)
    for layer in encoder.text_layers:
        hidden = _layer(layer, hidden, mask, None, [])
    return hidden


def fuse(
    encoder: TextEncoder,
    hidden: Hidden,
    mask: Bool[Tensor, "pairs length"],
    image: Float[Tensor, "pairs tokens channels"],
    taps: list[Tensor] | None = None,
) -> Hidden:
    """Fusion layers; the cross attention of each is appended to `taps`."""
    for layer in encoder.fusion_layers:
        hidden = _layer(layer, hidden, mask, image, [] if taps is None else taps)
    return hidden


def _layer(layer: Layer, hidden: Hidden, mask: Tensor, image: Tensor | None, taps: list[Tensor]) -> Hidden:
    attended, _ = _attend(layer.attention.self, hidden, hidden, mask)
    hidden = layer.attention.output(attended, hidden)
    if layer.crossattention is not None and image is not None:
        attended, probabilities = _attend(layer.crossattention.self, hidden, image, None)
        taps.append(probabilities)
        hidden = layer.crossattention.output(attended, hidden)
    return layer.output(layer.intermediate(hidden), hidden)


def _attend(
    attention: SelfOrCrossAttention, hidden: Hidden, source: Tensor, mask: Tensor | None
) -> tuple[Hidden, Float[Tensor, "pairs heads length tokens"]]:
    """Softmax(QK'/sqrt(d) + mask)V, and the probabilities."""

    def heads(tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (attention.heads, -1)).transpose(1, 2)

    query, key, value = (
        heads(attention.query(hidden)),
        heads(attention.key(source)),
        heads(attention.value(source)),
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores + (~mask)[:, None, None, :].to(scores.dtype) * -10000.0
    probabilities = scores.softmax(dim=-1)
    return (attention.dropout(probabilities) @ value).transpose(1, 2).flatten(2), probabilities
