"""Sizes of the network, and the two presets: the paper's, and one for the embedded scenes."""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from amc_models.errors import InputError


class TimmVision(BaseModel):
    """An image encoder of timm in place of our stem; its weights lie in a local file, nothing is downloaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    timm: str = Field(min_length=1, description="Name of the network in timm, such as tf_efficientnet_lite0.")
    weights: str | None = Field(
        default=None,
        min_length=1,
        description="File of its weights (.safetensors, .pth), relative to the working directory; null: random.",
    )
    out_index: int = Field(
        default=-1, description="Level whose feature map becomes tokens, from 0; -1 is the last and coarsest."
    )


class TransformersText(BaseModel):
    """A BERT whose embeddings and layers the text encoder starts with."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    transformers: str = Field(
        min_length=1,
        description="Folder with config.json, weights and vocabulary of a BERT, relative to the working directory.",
    )


class AlbefConfig(BaseModel):
    """Everything that fixes the shape of an ALBEF network and how it updates its momentum copies."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    preset_name: Literal["base", "small", "custom"] = Field(
        default="custom", description="Preset these sizes started from."
    )
    image_size: PositiveInt = Field(description="Side of the square input image, in pixels.")
    patch_size: PositiveInt = Field(description="Side of a square patch, in pixels.")
    stem: Literal["patch", "convolution"] = Field(
        default="patch",
        description="How pixels become tokens: one linear map a patch (the paper), or strided convolutions.",
    )
    vision: TimmVision | None = Field(
        default=None, description="A network of timm as the stem of the image encoder; null for `stem`."
    )
    vision_width: PositiveInt = Field(description="Width of an image token.")
    vision_depth: PositiveInt = Field(
        description="Number of blocks of the image encoder; with `vision`, of those behind its network."
    )
    vision_heads: PositiveInt = Field(description="Attention heads of the image encoder.")
    text: TransformersText | None = Field(
        default=None, description="A BERT that fills the text encoder at the start; null for random weights."
    )
    text_width: PositiveInt = Field(description="Width of a text token.")
    text_heads: PositiveInt = Field(description="Attention heads of the text and fusion layers.")
    text_feedforward: PositiveInt = Field(
        description="Width of the feed-forward block of text and fusion layers."
    )
    text_layers: PositiveInt = Field(description="Text and fusion layers together.")
    fusion_layer: PositiveInt = Field(description="Index of the first fusion layer (from 0).")
    vocabulary_size: PositiveInt = Field(description="Entries of the WordPiece vocabulary.")
    max_positions: PositiveInt = Field(description="Longest text, in tokens, that has a position embedding.")
    embedding_size: PositiveInt = Field(description="Width of the contrastive features.")
    queue_size: PositiveInt = Field(description="Momentum features kept for the contrastive objective.")
    momentum: float = Field(default=0.995, ge=0, lt=1, description="Decay m of the momentum copies.")
    temperature: PositiveFloat = Field(default=0.07, description="Initial contrastive temperature.")
    dropout: NonNegativeFloat = Field(default=0.1, lt=1, description="Dropout of text and fusion layers.")
    gradcam_layer: PositiveInt = Field(description="Layer (from 0) whose cross attention makes the heatmap.")
    mask_size: PositiveInt = Field(
        description="Side, in pixels, at which heatmap and region mask are compared."
    )

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Sizes of the preset `name` (`base`: the paper's ALBEF; `small`: for the scenes), with `overrides` on top."""
        if name not in PRESETS:
            raise InputError(f"model.preset: no preset '{name}'; choose one of {', '.join(PRESETS)}")
        return cls.model_validate({**PRESETS[name], "preset_name": name, **overrides})

    def at(self, image_size: int) -> Self:
        """The same network for square images of `image_size` pixels a side."""
        if image_size < 1 or image_size % self.patch_size:
            raise InputError(
                f"image_size: {image_size} is no multiple of the patch of {self.patch_size} pixels; choose one"
            )
        return self.model_copy(update={"image_size": image_size})

    def without_sources(self) -> Self:
        """The same network without the files its encoders started from: what a checkpoint says of itself."""
        vision = self.vision and self.vision.model_copy(update={"weights": None})
        return self.model_copy(update={"vision": vision, "text": None})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vision is not None and self.stem != "patch":
            raise ValueError("stem convolution has no effect with vision; leave stem out")
        for width, heads in (("vision_width", "vision_heads"), ("text_width", "text_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(f"{width} must be a multiple of {heads}")
        if self.stem == "convolution" and self.patch_size.bit_count() != 1:
            raise ValueError(
                "patch_size must be a power of 2 with stem convolution, which halves the image each time"
            )
        if self.image_size % self.patch_size:
            raise ValueError("image_size must be a multiple of patch_size")
        if not self.fusion_layer <= self.gradcam_layer < self.text_layers:
            raise ValueError(
                "gradcam_layer must be a fusion layer: fusion_layer <= gradcam_layer < text_layers"
            )
        return self

    @property
    def grid_size(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch_size


PRESETS: dict[str, dict[str, Any]] = {
    "base": {
        "image_size": 256,
        "patch_size": 16,
        "vision_width": 768,
        "vision_depth": 12,
        "vision_heads": 12,
        "text_width": 768,
        "text_heads": 12,
        "text_feedforward": 3072,
        "text_layers": 12,
        "fusion_layer": 6,
        "vocabulary_size": 30522,
        "max_positions": 512,
        "embedding_size": 256,
        "queue_size": 65536,
        "gradcam_layer": 8,
        "mask_size": 256,
    },
    "small": {
        "image_size": 64,
        "patch_size": 8,
        "stem": "convolution",
        "vision_width": 128,
        "vision_depth": 3,
        "vision_heads": 4,
        "text_width": 128,
        "text_heads": 4,
        "text_feedforward": 256,
        "text_layers": 4,
        "fusion_layer": 1,
        "vocabulary_size": 37,
        "max_positions": 24,
        "embedding_size": 64,
        "queue_size": 1024,
        "momentum": 0.99,
        "dropout": 0.0,
        "gradcam_layer": 2,
        "mask_size": 64,
    },
}
