"""One training step of all objectives inside one forward, so that distributed data parallel sees every gradient."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from amc_models.albef import Albef
from amc_models.attention import AttentionTap, KeysValues
from amc_models.batch import Batch, Draws, HiddenWords, MaskedText, Negatives
from amc_models.gradcam import attention_gradient, heatmap, normalise, upsample
from amc_models.objectives.attention_mask import attention_mask_loss
from amc_models.objectives.config import AttentionMaskLoss, NoAttentionMask, ObjectiveConfig
from amc_models.objectives.contrastive import Similarities, contrastive_loss, similarities
from amc_models.objectives.encoded import Encoded
from amc_models.objectives.masked_language import (
    Among,
    hidden_words,
    mask_tokens,
    masked_language_loss,
)
from amc_models.objectives.matching import draw_negatives, matching_loss, require_negatives
from amc_models.objectives.whole import Share, Whole


class Objectives(nn.Module):
    """Total = itc·L_itc + itm·L_itm + mlm·L_mlm + amc.weight·L_amc of a batch."""

    def __init__(self, model: Albef, config: ObjectiveConfig, mask_token_id: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.mask_token_id = mask_token_id
        self._keys: list[tuple[Tensor, Tensor]] = []

    def forward(
        self,
        batch: Batch,
        alpha: float,
        draws: Draws | None = None,
        *,
        share: Share | None = None,
        first: bool = True,
    ) -> dict[str, Tensor]:
        """Losses by name, unweighted, and `total`. `alpha`: weight of the soft targets at this step.

        `share`: which part of the global batch `batch` is, where losses are over all of it; then they are this share's
        parts, whose mean over shares is the loss, and `draws` holds its hidden words. `first`: whether `batch` is the
        first micro-batch of its step.
        """
        draws, weights = draws or Draws(), self.weights
        if share is None and first:
            self.begin_step()
        masked = (draws.masked or self.mask(batch.input_ids, batch.maskable)) if weights["mlm"] else None
        online = self.encode(batch, masked)
        losses: dict[str, Tensor] = {}
        average, scores = None, None
        allowed = self._may_be_negative(batch) if share is None else self._may_be_negative(share.whole)
        if self.reads_momentum(alpha):
            with torch.no_grad():
                average = self.encode(batch, masked, momentum=True)
                self._keys.append(average.features)
                keys = average.features if share is None or share.whole.keys is None else share.whole.keys
                targets = self._similarities(average.features, keys)
            scores = self._similarities(online.features, keys)
            rows = slice(None) if share is None else share.pairs
            losses["itc"] = contrastive_loss(scores, targets, alpha, _known(allowed), rows)
        negatives = draws.negatives or self._draw(scores, allowed, share)
        positive, maps = self.positive(batch, online)
        hidden = None if masked is None else masked.hidden or self.found(masked).hidden
        negative, words = self._fuse_others(batch, online, negatives, hidden, share)
        losses["itm"] = self._matching(positive, negative, negatives, allowed, share)
        if maps is not None and not isinstance(self.config.amc, NoAttentionMask):
            losses["amc"] = self._attention_mask(maps, batch, self.config.amc, share)
        if masked is not None and hidden is not None:
            losses["mlm"] = self._masked_language(batch, masked.labels, hidden, words, average, alpha, share)
        losses["total"] = torch.stack([weights[name] * losses[name] for name in losses]).sum()
        return losses

    def begin_step(self) -> None:
        """Keep the temperature in its range and, in training, move the averages: once a step, whatever its shares."""
        self.model.clamp_temperature()
        if self.training:
            self.model.update_momentum()

    def reads_momentum(self, alpha: float) -> bool:
        """Whether a loss needs the momentum network."""
        return self.weights["itc"] > 0 or (self.weights["mlm"] > 0 and alpha > 0)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss in the total."""
        config = self.config
        amc = 0.0 if isinstance(config.amc, NoAttentionMask) else config.amc.weight
        return {"itc": config.itc, "itm": config.itm, "mlm": config.mlm, "amc": amc}

    def update_queues(self, wanted: Bool[Tensor, ""] | None = None) -> None:
        """Enqueue the momentum features of the step's forward passes, unless `wanted` is false.

        Called after backward, which still reads the queues.
        """
        if self._keys:
            image, text = (torch.cat(of) for of in zip(*self._keys, strict=True))
            self.model.enqueue(image, text, wanted)
            self._keys = []

    def prepare(self, batch: Batch) -> Draws:
        """Draw the hidden words of `batch` and find them, before it is sent to a GPU.

        Made here, nothing of a forward pass has to be waited for. Raises InputError where no pair has a negative.
        """
        require_negatives(self._may_be_negative(batch))
        if not self.weights["mlm"]:
            return Draws()
        return Draws(masked=self.found(self.mask(batch.input_ids, batch.maskable)))

    def found(self, masked: MaskedText) -> MaskedText:
        """The same, with where its hidden words are."""
        return replace(masked, hidden=hidden_words(masked.labels, self.config.distillation_axis))

    def mask(
        self,
        input_ids: Int[Tensor, "pairs length"],
        maskable: Bool[Tensor, "pairs length"],
        among: Among | None = None,
    ) -> MaskedText:
        """Hide words; by torch's own random numbers, or by those that belong to the pairs of `among`."""
        probability, size = self.config.mask_probability, self.model.config.vocabulary_size
        return mask_tokens(input_ids, maskable, probability, self.mask_token_id, size, among)

    def encode(self, batch: Batch, masked: MaskedText | None, *, momentum: bool = False) -> Encoded:
        """Images once each; texts, and texts with hidden words behind them, in one pass."""
        model, pairs = self.model, len(batch.input_ids)
        encoder = model.text_encoder_m if momentum else model.text_encoder
        image_tokens, image_features = model.encode_image(batch.images, momentum=momentum)
        ids, mask = batch.input_ids, batch.attention_mask
        if masked is not None:
            ids, mask = torch.cat([ids, masked.input_ids]), torch.cat([mask, mask])
        text, text_features = model.encode_text(ids, mask, momentum=momentum)
        return Encoded(
            encoder.image_keys_values(image_tokens),
            text[:pairs],
            text[-pairs:],
            (image_features[batch.image_index], text_features[:pairs]),
        )

    def _similarities(self, features: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor]) -> Similarities:
        """Features of the pairs against this step's momentum keys and the queues."""
        model = self.model
        return similarities(*features, *keys, model.image_queue, model.text_queue, model.temp)

    def _may_be_negative(self, batch: Batch | Whole) -> Bool[Tensor, "pairs pairs"]:
        """Whether the phrase of one pair may be a negative for the image of another."""
        index = batch.image_index
        allowed = batch.may_be_negative[:, index]
        if self.config.same_image_negatives == "keep":
            own = torch.eye(len(index), dtype=torch.bool, device=index.device)
            allowed = allowed | ((index[:, None] == index) & ~own)
        return allowed

    def _draw(
        self,
        scores: Similarities | None,
        allowed: Bool[Tensor, "all_pairs all_pairs"],
        share: Share | None = None,
    ) -> Negatives:
        """Negatives of the batch; of a share out of all shares, by the numbers that belong to its pairs."""
        rows = slice(None) if share is None else share.pairs
        uniform = None if share is None else share.whole.uniform[:, rows]
        if scores is None or self.config.negatives == "uniform":
            scores = Similarities(*[torch.zeros(allowed[rows].shape, device=allowed.device)] * 2)
        image_to_text, text_to_image = (columns.detach()[:, : len(allowed)].float() for columns in scores)
        return draw_negatives(image_to_text, text_to_image, allowed[rows], allowed.T[rows], uniform)

    def _others(
        self, batch: Batch, encoded: Encoded, negatives: Negatives, share: Share | None
    ) -> tuple[list[KeysValues], Tensor, Tensor]:
        """Images and texts of the negatives, and the texts' masks; those of other shares are encoded here."""
        # -1 marks a missing negative; its row is computed with pair 0 and does not count.
        image_of_text = negatives.image_of_text.clamp(min=0)
        text_of_image = negatives.text_of_image.clamp(min=0)
        if share is None or share.whole.shares == 1:
            images = [image.of(batch.image_index[image_of_text]) for image in encoded.keys_values]
            return images, encoded.text[text_of_image], batch.attention_mask[text_of_image]
        whole = share.whole
        tokens, _ = self.model.encode_image(whole.images[whole.image_index[image_of_text]])
        mask = whole.attention_mask[text_of_image]
        texts, _ = self.model.encode_text(whole.input_ids[text_of_image], mask)
        return self.model.text_encoder.image_keys_values(tokens), texts, mask

    def _fuse_others(
        self,
        batch: Batch,
        encoded: Encoded,
        negatives: Negatives,
        hidden: HiddenWords | None,
        share: Share | None,
    ) -> tuple[Float[Tensor, "two_pairs 2"], Float[Tensor, "pairs rows width"]]:
        """Match logits of the negatives and states of the hidden words: all that no heatmap is made of, in one pass.

        Only the CLS of the negatives and, unless the published bug wants every position, the hidden words leave the
        last layer. Without hidden words their states are empty.
        """
        images, texts, masks = self._others(batch, encoded, negatives, share)
        fused = [
            (encoded.text, batch.attention_mask, images),
            (texts, masks, encoded.keys_values),
        ]
        rows = torch.zeros_like(batch.input_ids[:, :1]).repeat(2, 1)
        if hidden is not None:
            fused.append((encoded.masked_text, batch.attention_mask, encoded.keys_values))
            at = hidden.positions
            rows = None if at is None else torch.cat([rows.expand(-1, at.shape[1]), at])
        of_texts, of_masks, of_images = zip(*fused, strict=True)
        layers = [list(groups) for groups in zip(*of_images, strict=True)]
        states = self.model.text_encoder.fuse(torch.cat(of_texts), torch.cat(of_masks), layers, rows=rows)
        both = 2 * len(batch.input_ids)
        return self.model.match(states[:both]), states[both:]

    def _matching(
        self,
        positive: Float[Tensor, "pairs 2"],
        negative: Float[Tensor, "two_pairs 2"],
        negatives: Negatives,
        allowed: Bool[Tensor, "all_pairs all_pairs"],
        share: Share | None,
    ) -> Float[Tensor, ""]:
        """L_itm."""
        exists = torch.cat([negatives.image_of_text, negatives.text_of_image]) >= 0
        count = None
        if share is not None:
            existing = allowed.any(dim=0).sum() + allowed.any(dim=1).sum()
            count = (len(allowed) + existing) / share.whole.shares
        return matching_loss(positive, negative, exists, count)

    def _attention_mask(
        self,
        maps: Float[Tensor, "pairs grid_h grid_w"],
        batch: Batch,
        config: AttentionMaskLoss,
        share: Share | None,
    ) -> Float[Tensor, ""]:
        """L_amc of the pairs that have a region."""
        chosen = upsample(maps[batch.with_region], batch.region_masks.shape[-1])
        masks = batch.region_masks[batch.with_region]
        pool = None if share is None else share.whole.pool
        if len(masks) or pool is not None:
            return attention_mask_loss(chosen, masks, config, pool)
        return 0.0 * maps.sum()

    def positive(
        self, batch: Batch, encoded: Encoded, *, differentiable: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Match logits of the positive pairs and, where AMC is trained, their heatmaps."""
        config, taps = self.config.amc, list[Tensor]()

        def tap(probabilities: Tensor) -> Tensor:
            taps.append(probabilities)
            return probabilities

        if isinstance(config, NoAttentionMask):
            return self._match(encoded.text, batch.attention_mask, encoded.keys_values), None
        logits = self._match(encoded.text, batch.attention_mask, encoded.keys_values, tap)
        gradient = attention_gradient(logits, taps[0], config.gradient, differentiable=differentiable)
        maps = heatmap(taps[0], gradient, batch.attention_mask)
        return logits, normalise(maps) if config.normalise else maps

    def _match(
        self,
        text: Float[Tensor, "pairs length width"],
        mask: Bool[Tensor, "pairs length"],
        images: list[KeysValues],
        tap: AttentionTap | None = None,
    ) -> Float[Tensor, "pairs 2"]:
        """Match logits of texts with images; only the CLS is read, so that nothing else leaves the last layer."""
        cls = torch.zeros_like(mask[:, :1], dtype=torch.long)
        return self.model.match(self.model.text_encoder.fuse(text, mask, images, tap=tap, rows=cls))

    def _masked_language(
        self,
        batch: Batch,
        labels: Int[Tensor, "pairs length"],
        hidden: HiddenWords,
        states: Float[Tensor, "pairs rows width"],
        average: Encoded | None,
        alpha: float,
        share: Share | None,
    ) -> Float[Tensor, ""]:
        """L_mlm of the states of the hidden words."""
        model, rows = self.model, hidden.positions
        labels = labels if rows is None else labels.take_along_dim(rows, dim=1)
        momentum = None
        if average is not None and alpha > 0:
            with torch.no_grad():
                momentum = model.text_encoder_m.fuse(
                    average.masked_text, batch.attention_mask, average.keys_values, rows=rows
                )
        return masked_language_loss(
            states,
            momentum,
            labels,
            hidden,
            model.text_encoder.predict_words,
            model.text_encoder_m.predict_words,
            alpha,
            self.config.distillation_axis,
            None if share is None else share.whole.words,
        )


def _known(allowed: Bool[Tensor, "pairs pairs"]) -> Bool[Tensor, "pairs pairs"]:
    """Pairs that are neither the own one nor a negative."""
    return ~allowed & ~torch.eye(len(allowed), dtype=torch.bool, device=allowed.device)
