"""Recorded numbers of the published code (`tiny_*.json` and its tensors) beside those of this network."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amc_models.albef import Albef
from amc_models.batch import Batch, Draws, MaskedText, Negatives
from amc_models.benchmarks.golden_gradients import Gradients
from amc_models.benchmarks.verdict import Verdict, compare, read_json, read_tensors
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.gradcam import attention_gradient, heatmap, normalise, upsample
from amc_models.objectives.attention_mask import max_loss, mean_loss
from amc_models.objectives.config import AmcLoss, ObjectiveConfig
from amc_models.objectives.contrastive import contrastive_terms, similarities, soft_targets
from amc_models.objectives.matching import negative_weights
from amc_models.objectives.total import Objectives
from amc_models.vision import interpolate_positions

TIED = ("position_ids", "cls.predictions.decoder.")
"""Keys of the published layout without weights of their own."""


class GoldenCase:
    """One recorded step: the network before it, what went in, what came out."""

    def __init__(self, description: Path, dtype: torch.dtype = torch.float32) -> None:
        self.name = description.stem
        self.facts: dict[str, Any] = read_json(description)
        folder = description.parent
        state = read_tensors(folder / f"{self.name}_state_dict.safetensors")
        try:
            self.model = Albef(_config(self.facts, state)).to(dtype)
            self.mask_id: int = self.facts["special_ids"]["mask"]
            self.alpha: float = self.facts["alpha"]
        except KeyError as error:
            raise InputError(
                f"{description}: no field {error}; a golden case looks like tiny_a.json"
            ) from error
        keys = self.model.load_state_dict(state, strict=False)
        strange = [key for key in keys.unexpected_keys if not any(mark in key for mark in TIED)]
        if keys.missing_keys or strange:
            raise InputError(
                f"{description}: its state dict has not the keys of the network, first "
                f"{(keys.missing_keys + strange)[0]}; sizes in the json and tensors must belong together"
            )
        self.state = {key: value.clone() for key, value in self.model.state_dict().items()}
        inputs = read_tensors(folder / f"{self.name}_inputs.safetensors")
        inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        self.expected = self._expected(folder)
        mask = inputs["attention_mask"].bool()
        self.batch = Batch(
            images=inputs["image"].requires_grad_(),
            input_ids=inputs["input_ids"],
            attention_mask=mask,
            may_be_negative=~torch.eye(len(mask), dtype=torch.bool),
            maskable=mask,
            region_masks=inputs["mask"],
            has_region=inputs["mask_indicator"].flatten() > 0,
        )
        self.draws = Draws(
            Negatives(inputs["neg_img_idx"], inputs["neg_txt_idx"]),
            MaskedText(inputs["mlm_input_ids"], inputs["mlm_labels"]),
        )

    def _expected(self, folder: Path) -> dict[str, Tensor]:
        """Recorded tensors, the scalars in float64 where they are, gradients from files of their own."""
        expected: dict[str, Tensor] = {}
        for path in sorted(folder.glob(f"{self.name}_*.safetensors")):
            part = path.stem.removeprefix(f"{self.name}_")
            if part.startswith("expected"):
                expected |= read_tensors(path)
            elif part.startswith("grad"):
                # A file of gradients may name its tensors by their parameters alone.
                expected |= {
                    k if k.startswith("grad") else f"{part}.{k}": v for k, v in read_tensors(path).items()
                }
        scalars = folder / f"{self.name}_scalars_f64.safetensors"
        return expected | (read_tensors(scalars) if scalars.is_file() else {})

    def verdicts(self) -> list[Verdict]:
        """Every recorded tensor beside ours."""
        computed = self.values()
        gradients = Gradients(self)
        tensors: dict[str, dict[str, Any]] = self.facts.get("tensors", {})
        found: list[Verdict] = []
        for name, wanted in self.expected.items():
            got = computed[name] if name in computed else gradients.of(name)
            deviation = float(tensors.get(name, {}).get("fp32_dev", 0.0))
            found.append(compare(self.name, name, got, wanted, deviation))
        return found

    def restore(self) -> None:
        """The network as it was before the step."""
        self.model.load_state_dict(self.state)

    def losses(self, axis: str = "sequence") -> dict[str, Tensor]:
        """The training step's own losses."""
        return self._objectives(axis)(self.batch, self.alpha, self.draws)

    def _objectives(self, axis: str) -> Objectives:
        self.restore()
        config = ObjectiveConfig.model_validate({"distillation_axis": axis})
        return Objectives(self.model, config, self.mask_id)

    def values(self) -> dict[str, Tensor]:
        """Everything recorded but gradients, by its recorded name."""
        values = self._encodings()
        vocabulary = self.losses("vocabulary")["mlm"]
        objectives, model = self._objectives("sequence"), self.model
        losses = objectives(self.batch, self.alpha, self.draws)
        objectives.update_queues()
        values |= {
            "loss_ita": losses["itc"],
            "loss_itm": losses["itm"],
            "loss_mlm": losses["mlm"],
            "loss_amc": losses["amc"],
            "loss_total": losses["total"],
            "loss_mlm_vocab_distill": vocabulary,
            "queue_image_after": model.image_queue,
            "queue_text_after": model.text_queue,
            "queue_ptr_img_after": model.queue_ptr_img,
            "queue_ptr_txt_after": model.queue_ptr_txt,
        }
        return values | {f"momentum_after.{key}": value for key, value in model.state_dict().items()}

    def _encodings(self) -> dict[str, Tensor]:
        """The step taken apart: encodings, similarities, matching, words, heatmaps."""
        self.restore()
        model, batch = self.model, self.batch
        image, image_features = model.encode_image(batch.images)
        text, text_features = model.encode_text(batch.input_ids, batch.attention_mask)
        model.update_momentum()
        image_m, image_keys = model.encode_image(batch.images, momentum=True)
        _, text_keys = model.encode_text(batch.input_ids, batch.attention_mask, momentum=True)
        queues = model.image_queue, model.text_queue
        scores = similarities(image_features, text_features, image_keys, text_keys, *queues, model.temp)
        averages = similarities(image_keys, text_keys, image_keys, text_keys, *queues, model.temp)
        image_term, text_term = contrastive_terms(scores, averages, self.alpha)
        values = {
            "image_embeds": image,
            "text_embeds": text,
            "image_feat": image_features,
            "text_feat": text_features,
            "image_embeds_m": image_m,
            "image_feat_m": image_keys,
            "text_feat_m": text_keys,
            "sim_i2t": scores.image_to_text,
            "sim_t2i": scores.text_to_image,
            "sim_i2t_targets": soft_targets(averages.image_to_text, self.alpha),
            "sim_t2i_targets": soft_targets(averages.text_to_image, self.alpha),
            "loss_i2t": image_term,
            "loss_t2i": text_term,
        }
        for name, columns in (
            ("neg_txt_weights", scores.image_to_text),
            ("neg_img_weights", scores.text_to_image),
        ):
            # The published softmax runs over all columns before the own pair is struck out; the draw does not see it.
            columns = columns[:, : len(batch.input_ids)]
            own = columns.softmax(dim=1).diagonal()[:, None]
            values[name] = negative_weights(columns, batch.may_be_negative) * (1 - own)
        return values | self.fusion(image, text) | self._words(image, image_m)

    def fusion(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Matching and heatmaps of the encoded positive and recorded negative pairs."""
        model, batch = self.model, self.batch
        taps: list[Tensor] = []
        fuse = model.text_encoder.fuse
        keys_values = model.text_encoder.image_keys_values(image)
        fused = fuse(text, batch.attention_mask, keys_values, tap=lambda a: taps.append(a) or a)
        logits = model.itm_head(fused[:, 0])
        gradient = attention_gradient(logits, taps[0], "logit", differentiable=True)
        raw = heatmap(taps[0], gradient, batch.attention_mask)[batch.has_region]
        maps = upsample(normalise(raw), batch.region_masks.shape[-1])
        masks = batch.region_masks[batch.has_region]
        drawn = self.draws.negatives
        assert drawn is not None
        other_images = [image.of(drawn.image_of_text) for image in keys_values]
        other_texts, other_masks = text[drawn.text_of_image], batch.attention_mask[drawn.text_of_image]
        negative = [
            fuse(text, batch.attention_mask, other_images),
            fuse(other_texts, other_masks, keys_values),
        ]
        return {
            "fusion_pos": fused,
            "itm_logits_pos": logits,
            "vl_output": torch.cat([logits, *(model.itm_head(states[:, 0]) for states in negative)]),
            "attn_map": taps[0],
            "attn_grad": gradient,
            "gradcam_raw": raw,
            "gradcam_norm": normalise(raw),
            "gradcam_up": maps,
            "loss_mean": mean_loss(maps, masks, AmcLoss().delta_1, "batch"),
            "loss_max": max_loss(maps, masks, AmcLoss().delta_2),
            "variant_loss_mean_per_sample": mean_loss(maps, masks, AmcLoss().delta_1, "sample"),
        }

    def _words(self, image: Tensor, image_m: Tensor) -> dict[str, Tensor]:
        masked = self.draws.masked
        assert masked is not None
        values = {"mlm_input_ids": masked.input_ids, "mlm_labels": masked.labels}
        mask = self.batch.attention_mask
        for name, encoder, tokens in (
            ("mlm_logits", self.model.text_encoder, image),
            ("mlm_logits_m", self.model.text_encoder_m, image_m),
        ):
            states = encoder.fuse(
                encoder.encode(masked.input_ids, mask), mask, encoder.image_keys_values(tokens)
            )
            values[name] = encoder.predict_words(states)
        return values


def _config(facts: dict[str, Any], state: dict[str, Tensor]) -> AlbefConfig:
    """Sizes of the recorded network."""
    sizes, bert = facts["model_config"], facts["bert_config"]
    return AlbefConfig(
        image_size=sizes["image_res"],
        patch_size=state["visual_encoder.patch_embed.proj.weight"].shape[-1],
        vision_width=sizes["vision_width"],
        vision_depth=sizes["vit_depth"],
        vision_heads=sizes["vit_heads"],
        text_width=bert["hidden_size"],
        text_heads=bert["num_attention_heads"],
        text_feedforward=bert["intermediate_size"],
        text_layers=bert["num_hidden_layers"],
        fusion_layer=bert["fusion_layer"],
        vocabulary_size=bert["vocab_size"],
        max_positions=bert["max_position_embeddings"],
        embedding_size=sizes["embed_dim"],
        queue_size=sizes["queue_size"],
        momentum=sizes["momentum"],
        temperature=sizes["temp"],
        dropout=facts["dropout"],
        gradcam_layer=sizes["gcam_layer"],
        mask_size=sizes["mask_size"],
    )


def position_verdicts(tensors: dict[str, Tensor]) -> Iterator[Verdict]:
    """Position embeddings at another resolution: pairs `pos_A_to_B_in`, `pos_A_to_B_out`."""
    for name in sorted(name for name in tensors if name.startswith("pos_") and name.endswith("_in")):
        wanted = tensors[name.removesuffix("_in") + "_out"]
        got = interpolate_positions(tensors[name], math.isqrt(wanted.shape[1] - 1))
        yield compare("positions", name.removesuffix("_in"), got, wanted, 0.0)
