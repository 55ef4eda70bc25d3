"""Which objectives are trained, with what weight, and every choice on which paper and published code differ."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, field_validator, model_validator
from pydantic_core import PydanticCustomError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoAttentionMask(_Section):
    """No attention mask objective: the control of every comparison."""

    variant: Literal["none"]


class _HeatmapLoss(_Section):
    weight: NonNegativeFloat = Field(default=1.0, description="Weight of this objective in the total.")
    gradient: Literal["logit", "loss"] = Field(
        default="logit",
        description="Gradient of what: of the match logit (published) or of minus the matching loss (eq. 5).",
    )
    normalise: bool = Field(
        default=True, description="Scale each heatmap to [0, 1] first (published) or leave it (paper)."
    )


class CosineLoss(_HeatmapLoss):
    """One minus the cosine between heatmap and region mask (Table 3b)."""

    variant: Literal["cosine"]


class MeanLoss(_HeatmapLoss):
    """L_mean alone (eq. 7)."""

    variant: Literal["mean"]
    delta_1: NonNegativeFloat = Field(
        0.1, description="Margin Δ1 between the means inside and outside the region."
    )
    mean_hinge: Literal["batch", "sample"] = Field(
        default="batch",
        description="One hinge on means pooled over the batch (published) or a hinge per sample (paper, eq. 7).",
    )


class MaxLoss(_HeatmapLoss):
    """L_max alone (eq. 8)."""

    variant: Literal["max"]
    delta_2: NonNegativeFloat = Field(
        0.5, description="Margin Δ2 between the maxima inside and outside the region."
    )


class AmcLoss(_HeatmapLoss):
    """λ1·L_mean + λ2·L_max (eq. 9)."""

    variant: Literal["amc"] = "amc"
    lambda_1: NonNegativeFloat = Field(default=0.2, description="Weight λ1 of L_mean.")
    lambda_2: NonNegativeFloat = Field(default=0.8, description="Weight λ2 of L_max.")
    delta_1: NonNegativeFloat = Field(default=0.1, description="Margin Δ1 of L_mean.")
    delta_2: NonNegativeFloat = Field(default=0.5, description="Margin Δ2 of L_max.")
    mean_hinge: Literal["batch", "sample"] = Field(
        default="batch",
        description="One hinge on means pooled over the batch (published) or a hinge per sample (paper, eq. 7).",
    )


AttentionMaskLoss = Annotated[
    NoAttentionMask | AmcLoss | MeanLoss | MaxLoss | CosineLoss, Field(discriminator="variant")
]


class ObjectiveConfig(_Section):
    """Total = itc·L_itc + itm·L_itm + mlm·L_mlm + amc.weight·L_amc."""

    itc: NonNegativeFloat = Field(default=1.0, description="Weight of image-text contrast.")
    itm: NonNegativeFloat = Field(default=1.0, description="Weight of image-text matching.")
    mlm: NonNegativeFloat = Field(default=1.0, description="Weight of masked language modelling.")
    amc: AttentionMaskLoss = Field(
        default=AmcLoss(), description="Attention mask consistency and its variants."
    )

    @field_validator("amc", mode="before")
    @classmethod
    def _amc_by_default(cls, written: object) -> object:
        """Margins without a variant are those of the paper's full objective."""
        return (
            {"variant": "amc", **written}
            if isinstance(written, dict) and "variant" not in written
            else written
        )

    batch: Literal["share", "global"] = Field(
        default="share",
        description="Batch that contrast, negatives, AMC's pooled mean and the means of losses are over: each "
        "micro-batch of a worker alone (published), or all together, whatever the number of workers.",
    )
    distillation: float = Field(
        default=0.4, ge=0, le=1, description="Weight α of the momentum network's soft targets."
    )
    distillation_warmup_steps: int = Field(
        default=0, ge=0, description="Steps over which α rises from 0 (published: the first epoch)."
    )
    distillation_axis: Literal["vocabulary", "sequence"] = Field(
        default="vocabulary",
        description="Axis of MLM distillation's log-softmax; `sequence` is the published bug.",
    )
    mask_probability: float = Field(
        default=0.15, gt=0, lt=1, description="Share of maskable tokens chosen for MLM."
    )
    mask_words: Literal["all", "content"] = Field(
        default="all", description="Tokens MLM may mask: all but CLS and padding, or content words only."
    )
    false_negatives: Literal["exclude", "keep"] = Field(
        default="keep",
        description="Whether a phrase known to hold for another image may be its negative (`keep`: published, it may).",
    )
    same_image_negatives: Literal["exclude", "keep"] = Field(
        default="exclude",
        description="Whether another phrase of the same image may be its negative (`keep`: published, it may).",
    )
    negatives: Literal["hard", "uniform"] = Field(
        default="hard", description="How ITM draws negatives among the allowed ones."
    )

    @model_validator(mode="after")
    def _hard_negatives_need_contrast(self) -> Self:
        if self.itm and not self.itc and self.negatives == "hard":
            raise PydanticCustomError(
                "spec",
                "{problem}",
                {
                    "path": "negatives",
                    "problem": "hard ones are picked by the features that itc trains, and itc is 0; say uniform",
                },
            )
        return self
