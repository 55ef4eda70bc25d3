"""Where `data.prepare` takes a table from: one model a source."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from amc_platform.spec.values import AbsolutePath, Section, Seed, Words, refuse


class ScenesSource(Section):
    """The embedded scenes, drawn when the table is not there yet."""

    source: Literal["scenes"] = Field(description="Name of the data set.")
    train: NonNegativeInt = Field(description="Images of the split train.")
    val: NonNegativeInt = Field(description="Images of the split val.")
    test: NonNegativeInt = Field(description="Images of the split test.")
    unseen: NonNegativeInt = Field(
        description="Images of the split unseen: colour-shape pairs absent from train."
    )
    iconic: NonNegativeInt = Field(
        default=0, description="Images of the split iconic: one or two objects each, for pretraining."
    )
    image_size: PositiveInt = Field(default=64, description="Side of an image, in pixels.")
    seed: Seed = Field(default=0, description="Seed of the drawing.")

    @property
    def splits(self) -> list[str]:
        """Splits that get at least one image."""
        return [split for split in ("train", "val", "test", "unseen", "iconic") if getattr(self, split)]

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.splits:
            raise refuse("train", "every split is empty; ask for at least one image")
        return self


class Flickr30kSource(Section):
    """Flickr30k Entities from its raw files, made when the table is not there yet; all paths are folders."""

    source: Literal["flickr30k-entities"] = Field(description="Name of the data set.")
    raw: AbsolutePath = Field(
        description="Folder of the lists of splits (train.txt, ...), relative to the working directory."
    )
    annotations: AbsolutePath | None = Field(
        default=None, description="Folder of Annotations/ and Sentences/; null for raw."
    )
    images: AbsolutePath | None = Field(
        default=None, description="Folder of the photos (<id>.jpg); null for flickr30k-images below raw."
    )
    splits: Words = Field(default=["train", "val", "test"], description="Splits that the table holds.")
    only_present: bool = Field(
        default=False, description="Leave out and count images whose photo is not there; false rejects them."
    )
    image_size: PositiveInt | None = Field(
        default=None,
        description="Longest edge of a stored photo, in pixels; null stores the files as they are.",
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="JPEG quality of stored photos, with image_size; null for 90."
    )

    @model_validator(mode="after")
    def _quality_has_effect(self) -> Self:
        if self.quality is not None and self.image_size is None:
            raise refuse("quality", "no effect while image_size is null; remove it or set that")
        return self


DataSource = Annotated[ScenesSource | Flickr30kSource, Field(discriminator="source")]
