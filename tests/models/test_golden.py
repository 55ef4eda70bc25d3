"""The recorded numbers of the published code (`tiny_a`), value by value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from amc_models.albef import Albef
from amc_models.batch import Batch, MaskedText, Negatives
from amc_models.config import AlbefConfig
from amc_models.gradcam import attention_gradient, heatmap, normalise, upsample
from amc_models.objectives.attention_mask import max_loss, mean_loss
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.contrastive import similarities, soft_targets
from amc_models.objectives.matching import negative_weights
from amc_models.objectives.total import Draws, Objectives

TIED = ("position_ids", "cls.predictions.decoder.")
"""Keys of the published layout without weights of their own."""


class Case:
    """One recorded case: the network before its step, what went in, what came out."""

    def __init__(self, folder: Path, name: str, dtype: torch.dtype) -> None:
        self.facts: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        sizes, bert = self.facts["model_config"], self.facts["bert_config"]
        state = load_file(folder / f"{name}_state_dict.safetensors")
        patch = state["visual_encoder.patch_embed.proj.weight"].shape[-1]
        self.model = Albef(
            AlbefConfig(
                image_size=sizes["image_res"],
                patch_size=patch,
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
                dropout=self.facts["dropout"],
                gradcam_layer=sizes["gcam_layer"],
                mask_size=sizes["mask_size"],
            )
        )
        unknown = self.model.load_state_dict(state, strict=False)
        assert unknown.missing_keys == []
        assert [k for k in unknown.unexpected_keys if not any(mark in k for mark in TIED)] == []
        self.model.to(dtype)
        inputs = load_file(folder / f"{name}_inputs.safetensors")
        self.inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        self.expected = load_file(folder / f"{name}_expected.safetensors")
        self.scalars: dict[str, float] = self.facts["scalars"]
        attention_mask = self.inputs["attention_mask"].bool()
        self.batch = Batch(
            images=self.inputs["image"],
            input_ids=self.inputs["input_ids"],
            attention_mask=attention_mask,
            may_be_negative=~torch.eye(len(attention_mask), dtype=torch.bool),
            maskable=attention_mask,
            region_masks=self.inputs["mask"],
            has_region=self.inputs["mask_indicator"][:, 0] > 0,
        )
        self.draws = Draws(
            Negatives(self.inputs["neg_img_idx"], self.inputs["neg_txt_idx"]),
            MaskedText(self.inputs["mlm_input_ids"], self.inputs["mlm_labels"]),
        )

    def tolerance(self, name: str) -> float:
        """Ten times what the published code itself moves between float32 and float64."""
        return 10 * self.facts["tensors"][name]["fp32_dev"] or 1e-6

    def check(self, name: str, value: torch.Tensor) -> None:
        recorded = self.expected.get(name)
        wanted = (
            recorded.double()
            if recorded is not None
            else torch.tensor(self.scalars[name], dtype=torch.float64)
        )
        deviation = (value.double().reshape(wanted.shape) - wanted).abs().max().item()
        assert deviation <= self.tolerance(name), f"{name}: {deviation:.2e} > {self.tolerance(name):.2e}"


@pytest.fixture
def case_of(shared_dir: Path) -> Callable[[torch.dtype], Case]:
    return lambda dtype: Case(shared_dir / "golden", "tiny_a", dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses(case_of: Callable[[torch.dtype], Case], dtype: torch.dtype) -> None:
    case = case_of(dtype)
    objectives = Objectives(
        case.model, ObjectiveConfig(distillation_axis="sequence"), case.facts["special_ids"]["mask"]
    )
    losses = objectives(case.batch, case.facts["alpha"], case.draws)
    for name, key in {
        "itc": "loss_ita",
        "itm": "loss_itm",
        "mlm": "loss_mlm",
        "amc": "loss_amc",
        "total": "loss_total",
    }.items():
        case.check(key, losses[name])
    losses["total"].backward()
    objectives.update_queues()
    case.check("queue_image_after", case.model.image_queue)
    case.check("queue_text_after", case.model.text_queue)
    assert case.model.queue_ptr_img.item() == case.scalars["queue_ptr_img_after"]
    case.check("momentum_after.vision_proj_m.weight", case.model.vision_proj_m.weight)


def test_distillation_over_the_vocabulary(case_of: Callable[[torch.dtype], Case]) -> None:
    case = case_of(torch.float64)
    objectives = Objectives(case.model, ObjectiveConfig(), case.facts["special_ids"]["mask"])
    loss = objectives(case.batch, case.facts["alpha"], case.draws)["mlm"]
    assert loss.item() == pytest.approx(case.scalars["loss_mlm_vocab_distill"], abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_encodings_and_heatmap(case_of: Callable[[torch.dtype], Case], dtype: torch.dtype) -> None:
    case = case_of(dtype)
    model, batch = case.model, case.batch
    image, image_features = model.encode_image(batch.images)
    text, text_features = model.encode_text(batch.input_ids, batch.attention_mask)
    model.update_momentum()
    image_m, image_keys = model.encode_image(batch.images, momentum=True)
    _, text_keys = model.encode_text(batch.input_ids, batch.attention_mask, momentum=True)
    for name, value in {
        "image_embeds": image,
        "text_embeds": text,
        "image_feat": image_features,
        "text_feat": text_features,
        "image_embeds_m": image_m,
        "image_feat_m": image_keys,
        "text_feat_m": text_keys,
    }.items():
        case.check(name, value)
    queues = model.image_queue, model.text_queue
    scores = similarities(image_features, text_features, image_keys, text_keys, *queues, model.temp)
    case.check("sim_i2t", scores.image_to_text)
    case.check("sim_t2i", scores.text_to_image)
    averages = similarities(image_keys, text_keys, image_keys, text_keys, *queues, model.temp)
    case.check("sim_i2t_targets", soft_targets(averages.image_to_text, case.facts["alpha"]))
    case.check("sim_t2i_targets", soft_targets(averages.text_to_image, case.facts["alpha"]))
    for name, columns in (
        ("neg_txt_weights", scores.image_to_text),
        ("neg_img_weights", scores.text_to_image),
    ):
        # The published weights are not normalised after the diagonal is struck out; the draw does not see it.
        wanted = case.expected[name].double() / case.expected[name].double().sum(dim=1, keepdim=True)
        got = negative_weights(columns[:, : len(wanted)], batch.may_be_negative).double()
        assert (got - wanted).abs().max().item() <= 1e-5

    taps: list[torch.Tensor] = []

    def tap(probabilities: torch.Tensor) -> torch.Tensor:
        taps.append(probabilities)
        return probabilities

    fused = model.text_encoder.fuse(
        text, batch.attention_mask, model.text_encoder.image_keys_values(image), tap=tap
    )
    logits = model.itm_head(fused[:, 0])
    gradient = attention_gradient(logits, taps[0], "logit", differentiable=True)
    raw = heatmap(taps[0], gradient, batch.attention_mask)
    maps = upsample(normalise(raw), 64)
    for name, value in {
        "fusion_pos": fused,
        "itm_logits_pos": logits,
        "attn_map": taps[0],
        "attn_grad": gradient,
        "gradcam_raw": raw,
        "gradcam_norm": normalise(raw),
        "gradcam_up": maps,
        "loss_mean": mean_loss(maps, batch.region_masks, 0.1, "batch"),
        "loss_max": max_loss(maps, batch.region_masks, 0.5),
    }.items():
        case.check(name, value)
    per_sample = mean_loss(maps, batch.region_masks, 0.1, "sample").item()
    assert per_sample == pytest.approx(case.scalars["variant_loss_mean_per_sample"], abs=1e-5)
