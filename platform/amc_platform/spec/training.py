"""How a network is optimised, and when that ends."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from amc_platform.spec.values import Section, Word, refuse


class EarlyStoppingSpec(Section):
    """When a training ends before its last step; what it looks at is part of the trial's identity."""

    patience: PositiveInt = Field(description="Validations in a row that may fail to beat the best so far.")
    metric: Word | None = Field(
        default=None,
        description="Metric of the validations, as in val/scenes/pointing/hard; null for all phrases.",
    )


class TrainingSpec(Section):
    """Optimisation: AdamW, warm-up to `lr`, cosine decay to `lr_min`."""

    steps: NonNegativeInt = Field(description="Optimiser steps; 0 evaluates the start as it is.")
    lr: PositiveFloat = Field(description="Highest learning rate.")
    lr_min: NonNegativeFloat = Field(description="Learning rate at the last step.")
    warmup_steps: NonNegativeInt = Field(description="Steps over which the learning rate rises to lr.")
    schedule: Literal["cosine", "published"] = Field(
        default="cosine",
        description="Learning rate: rising and falling a little with every step to lr_min at the last one; "
        "or, as published, warm-up in stairs of 100 steps, then constant within an epoch.",
    )
    steps_per_epoch: PositiveInt | None = Field(
        default=None, description="Steps of an epoch, for the published schedule."
    )
    epochs: PositiveInt | None = Field(
        default=None, description="Epochs after which the published schedule reaches lr_min (published: 30)."
    )
    weight_decay: NonNegativeFloat = Field(default=0.02, description="Decoupled weight decay.")
    accumulation: PositiveInt = Field(
        default=1,
        description="Micro-batches a step that each worker trains one after the other; less memory.",
    )
    clip_norm: PositiveFloat | None = Field(
        default=None, description="Largest gradient norm; null does not clip."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Arithmetic of the networks; weights, averages and losses keep float32."
    )
    tf32: bool = Field(
        default=False,
        description="Let matrix products and convolutions in float32 on a GPU round their factors to TF32's 10 bits: "
        "several times faster on Ampere and later, and other numbers.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Compute layers again in the backward pass: less memory, the same numbers."
    )
    compile_image_encoder: bool = Field(
        default=False, description="Compile the image encoder; half a minute once, then faster steps."
    )
    on_nan: Literal["stop", "skip"] = Field(
        default="stop",
        description="A step whose losses are not finite ends the training, naming its images, or changes nothing and "
        "is counted.",
    )
    log_every: PositiveInt = Field(default=20, description="Steps between two records of the losses.")
    checkpoint_every: PositiveInt = Field(default=100, description="Steps between two checkpoints.")
    early_stopping: EarlyStoppingSpec | None = Field(
        default=None, description="Stop when validations no longer get better; null trains all steps."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("steps_per_epoch", "epochs"):
            if self.schedule == "published" and getattr(self, name) is None:
                raise refuse(name, "missing; the published schedule counts in epochs")
        if self.lr_min > self.lr:
            raise refuse(
                "lr_min", f"{self.lr_min:g} is above lr {self.lr:g}; the rate falls from lr to lr_min"
            )
        if 0 < self.steps < self.warmup_steps:
            problem = (
                f"{self.warmup_steps} is more than training.steps {self.steps}; lr would never be reached"
            )
            raise refuse("warmup_steps", problem)
        return self
