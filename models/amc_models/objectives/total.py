"""One training step of all objectives inside one forward, so that distributed data parallel sees every gradient."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from amc_models.albef import Albef
from amc_models.batch import Batch, MaskedText, Negatives
from amc_models.gradcam import attention_gradient, heatmap, normalise, upsample
from amc_models.objectives.attention_mask import attention_mask_loss
from amc_models.objectives.config import NoAttentionMask, ObjectiveConfig
from amc_models.objectives.contrastive import Similarities, contrastive_loss, similarities
from amc_models.objectives.masked_language import mask_tokens, masked_language_loss
from amc_models.objectives.matching import draw_negatives, matching_loss
from amc_models.text import AttentionTap, KeysValues, TextEncoder


@dataclass(frozen=True)
class Draws:
    """What a step would draw at random, given from outside (for comparison with recorded numbers)."""

    negatives: Negatives | None = None
    masked: MaskedText | None = None


@dataclass(frozen=True)
class Encoded:
    """Online encodings of a batch, shared by all objectives."""

    keys_values: list[KeysValues]
    """Cross-attention keys and values a fusion layer, once an image."""
    text: Float[Tensor, "pairs length width"]


class Objectives(nn.Module):
    """Total = itc·L_itc + itm·L_itm + mlm·L_mlm + amc.weight·L_amc of a batch."""

    def __init__(self, model: Albef, config: ObjectiveConfig, mask_token_id: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.mask_token_id = mask_token_id
        self._keys: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Batch, alpha: float, draws: Draws | None = None) -> dict[str, Tensor]:
        """Losses by name, unweighted, and `total`. `alpha`: weight of the soft targets at this step."""
        draws, model, weights = draws or Draws(), self.model, self.weights
        model.clamp_temperature()
        image_tokens, image_features = model.encode_image(batch.images)
        text_tokens, text_features = model.encode_text(batch.input_ids, batch.attention_mask)
        if self.training:
            model.update_momentum()
        encoded = Encoded(model.text_encoder.image_keys_values(image_tokens), text_tokens)
        image_features = image_features[batch.image_index]
        allowed = batch.may_be_negative[:, batch.image_index]

        losses: dict[str, Tensor] = {}
        image_tokens_m, similar = None, None
        if weights["itc"] or (weights["mlm"] and alpha):
            with torch.no_grad():
                image_tokens_m, image_keys = model.encode_image(batch.images, momentum=True)
                _, text_keys = model.encode_text(batch.input_ids, batch.attention_mask, momentum=True)
                self._keys = image_keys[batch.image_index], text_keys
                momentum = self._similarities(*self._keys, self._keys)
            similar = self._similarities(image_features, text_features, self._keys)
            losses["itc"] = contrastive_loss(similar, momentum, alpha, self._excluded(allowed))
        losses |= self._matching(batch, encoded, similar, allowed, draws)
        if weights["mlm"]:
            losses["mlm"] = self._masked_language(batch, encoded, image_tokens_m, alpha, draws)
        losses["total"] = torch.stack([weights[name] * losses[name] for name in losses]).sum()
        return losses

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss in the total."""
        config = self.config
        amc = 0.0 if isinstance(config.amc, NoAttentionMask) else config.amc.weight
        return {"itc": config.itc, "itm": config.itm, "mlm": config.mlm, "amc": amc}

    def update_queues(self) -> None:
        """Enqueue the momentum features of the last forward. Called after backward, which still reads the queues."""
        if self._keys is not None:
            self.model.enqueue(*self._keys)
            self._keys = None

    def _similarities(self, image: Tensor, text: Tensor, keys: tuple[Tensor, Tensor]) -> Similarities:
        """Features of the pairs against this step's momentum keys and the queues."""
        model = self.model
        return similarities(image, text, *keys, model.image_queue, model.text_queue, model.temp)

    @staticmethod
    def _excluded(allowed: Bool[Tensor, "pairs pairs"]) -> Bool[Tensor, "pairs pairs"]:
        """Pairs that are neither the own one nor a negative."""
        return ~allowed & ~torch.eye(allowed.shape[0], dtype=torch.bool, device=allowed.device)

    def _matching(
        self,
        batch: Batch,
        encoded: Encoded,
        scores: Similarities | None,
        allowed: Bool[Tensor, "pairs pairs"],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """L_itm, and L_amc on its positive pairs."""
        negatives = draws.negatives or self._negatives(scores, allowed)
        positive, maps = self._positive(batch, encoded)
        # -1 marks a missing negative; its row is computed with pair 0 and does not count.
        image_of_text, text_of_image = (
            negatives.image_of_text.clamp(min=0),
            negatives.text_of_image.clamp(min=0),
        )
        other_images = [image.of(batch.image_index[image_of_text]) for image in encoded.keys_values]
        other_texts, other_masks = encoded.text[text_of_image], batch.attention_mask[text_of_image]
        negative = torch.cat(
            [
                self._match_logits(encoded.text, batch.attention_mask, other_images),
                self._match_logits(other_texts, other_masks, encoded.keys_values),
            ]
        )
        exists = torch.cat([negatives.image_of_text, negatives.text_of_image]) >= 0
        losses = {"itm": matching_loss(positive, negative, exists)}
        if maps is not None and not isinstance(self.config.amc, NoAttentionMask):
            chosen = upsample(maps[batch.has_region], batch.region_masks.shape[-1])
            masks = batch.region_masks[batch.has_region]
            losses["amc"] = (
                attention_mask_loss(chosen, masks, self.config.amc) if len(masks) else 0.0 * maps.sum()
            )
        return losses

    def _negatives(self, scores: Similarities | None, allowed: Bool[Tensor, "pairs pairs"]) -> Negatives:
        pairs = allowed.shape[0]
        if scores is None or self.config.negatives == "uniform":
            evenly = torch.zeros(allowed.shape, device=allowed.device)
            return draw_negatives(evenly, evenly, allowed)
        image_to_text, text_to_image = (columns.detach()[:, :pairs].float() for columns in scores)
        return draw_negatives(image_to_text, text_to_image, allowed)

    def _positive(self, batch: Batch, encoded: Encoded) -> tuple[Tensor, Tensor | None]:
        """Match logits of the positive pairs and, where AMC is trained, their differentiable heatmaps."""
        config, taps = self.config.amc, list[Tensor]()

        def tap(probabilities: Tensor) -> Tensor:
            taps.append(probabilities)
            return probabilities

        wanted = not isinstance(config, NoAttentionMask)
        logits = self._match_logits(
            encoded.text, batch.attention_mask, encoded.keys_values, tap if wanted else None
        )
        if isinstance(config, NoAttentionMask):
            return logits, None
        gradient = attention_gradient(logits, taps[0], config.gradient, differentiable=True)
        maps = heatmap(taps[0], gradient, batch.attention_mask)
        return logits, normalise(maps) if config.normalise else maps

    def _match_logits(
        self,
        text: Float[Tensor, "pairs length width"],
        mask: Bool[Tensor, "pairs length"],
        images: list[KeysValues],
        tap: AttentionTap | None = None,
    ) -> Float[Tensor, "pairs 2"]:
        return self.model.itm_head(self.model.text_encoder.fuse(text, mask, images, tap=tap)[:, 0])

    def _masked_language(
        self, batch: Batch, encoded: Encoded, image_tokens_m: Tensor | None, alpha: float, draws: Draws
    ) -> Float[Tensor, ""]:
        online, average = self.model.text_encoder, self.model.text_encoder_m
        masked = draws.masked or mask_tokens(
            batch.input_ids,
            batch.maskable,
            self.config.mask_probability,
            self.mask_token_id,
            self.model.config.vocabulary_size,
        )

        def states(encoder: TextEncoder, images: list[KeysValues]) -> Float[Tensor, "pairs length width"]:
            return encoder.fuse(
                encoder.encode(masked.input_ids, batch.attention_mask), batch.attention_mask, images
            )

        momentum = None
        if image_tokens_m is not None and alpha > 0:
            with torch.no_grad():
                momentum = states(average, average.image_keys_values(image_tokens_m))
        return masked_language_loss(
            states(online, encoded.keys_values),
            momentum,
            masked.labels,
            online.predict_words,
            average.predict_words,
            alpha,
            self.config.distillation_axis,
        )
