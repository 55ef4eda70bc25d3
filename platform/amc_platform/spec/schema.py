"""What a spec may say: one frozen model a section, every field described, nothing unknown accepted."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from amc_models.objectives.config import ObjectiveConfig
from amc_platform.spec.suggestions import hint
from amc_platform.spec.values import AbsolutePath, ModelSpec, Seed, Vocabulary, Word, Words, refuse, unique


class Section(BaseModel):
    """Base of all sections: frozen, no unknown fields, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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


class DataSpec(Section):
    """The grounding table and how batches are drawn from it."""

    table: AbsolutePath = Field(description="Grounding table (.parquet), relative to the working directory.")
    prepare: ScenesSource | None = Field(
        default=None, description="How to make the table where it is missing."
    )
    splits: Words = Field(default=["train"], description="Splits that are trained on.")
    kinds: Words | None = Field(default=None, description="Kinds of phrases trained on; null for all.")
    images_per_batch: PositiveInt = Field(description="Images a step, over all workers together.")
    phrases_per_image: PositiveInt = Field(default=1, description="Phrases drawn per image and step.")
    max_tokens: PositiveInt = Field(
        default=25, description="Longest text in training, in tokens; longer ones are cut."
    )
    regions: Literal["one", "union"] = Field(
        default="one",
        description="Region of a phrase with several boxes: one of them at random (published), or all.",
    )
    flip: Literal["off", "plain", "swap"] = Field(
        default="off",
        description="Mirror half of the images: never, as published, or swapping left and right in words.",
    )

    @model_validator(mode="after")
    def _is_table(self) -> Self:
        if self.table.suffix != ".parquet":
            raise refuse(
                "table", f"{self.table.name} is not a grounding table; name a file that ends in .parquet"
            )
        return self


class TrainingSpec(Section):
    """Optimisation: AdamW, linear warm-up to `lr`, cosine decay to `lr_min`."""

    steps: NonNegativeInt = Field(description="Optimiser steps; 0 evaluates the start as it is.")
    lr: PositiveFloat = Field(description="Highest learning rate.")
    lr_min: NonNegativeFloat = Field(description="Learning rate at the last step.")
    warmup_steps: NonNegativeInt = Field(description="Steps over which the learning rate rises to lr.")
    weight_decay: NonNegativeFloat = Field(default=0.02, description="Decoupled weight decay.")
    clip_norm: PositiveFloat | None = Field(
        default=None, description="Largest gradient norm; null does not clip."
    )
    log_every: PositiveInt = Field(default=20, description="Steps between two records of the losses.")
    checkpoint_every: PositiveInt = Field(default=100, description="Steps between two checkpoints.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
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


class EvaluationSpec(Section):
    """What is measured, when, and by which protocol."""

    protocol: Word = Field(default="scenes", description="Named evaluation protocol.")
    splits: Words = Field(default=["test"], description="Splits evaluated at the end.")
    every: PositiveInt | None = Field(
        default=None, description="Steps between two validations; null for none before the end."
    )
    validation_split: Word = Field(default="val", description="Split of the validations during training.")
    validation_images: PositiveInt | None = Field(
        default=None, description="First images of it to use; null for all."
    )
    gallery: NonNegativeInt = Field(default=12, description="Heatmaps drawn per evaluation.")


class ClusterSpec(Section):
    """The group of Ray Train workers."""

    workers: PositiveInt = Field(default=1, description="Processes that train together.")
    cpus_per_worker: PositiveFloat = Field(default=1, description="CPU cores reserved for each.")
    gpus_per_worker: NonNegativeInt = Field(default=0, description="GPUs of each; 0 trains on the CPU.")
    address: Word | None = Field(
        default=None, description="Address of a running Ray cluster; null starts one here."
    )
    max_failures: NonNegativeInt = Field(
        default=3, description="Restarts from the last checkpoint after a worker failed."
    )


class TrackingSpec(Section):
    """Where parameters, metrics and artifacts are recorded."""

    kind: Literal["mlflow", "jsonl", "none"] = Field(
        default="mlflow", description="MLflow, a file of JSON lines, or nothing."
    )
    uri: Word | None = Field(
        default=None,
        description="MLflow server; null takes MLFLOW_TRACKING_URI, else a database in the output folder.",
    )
    experiment: Word | None = Field(default=None, description="MLflow experiment; null for amc/<name>.")


class TrialSpec(Section):
    """One row of an ablation: a name and what differs from the experiment."""

    name: Word = Field(description="Name of the row, unique in the experiment.")
    set: dict[str, Any] = Field(default={}, description="Fields that differ, by dotted path or nested.")


class SearchSpec(Section):
    """Trials times seeds; empty is a single run of the experiment itself."""

    trials: list[TrialSpec] = Field(
        default=[], description="Rows to train; none is one row, the experiment itself."
    )
    seeds: Annotated[list[Seed], AfterValidator(unique)] = Field(
        default=[], description="Seeds with which every trial is run; none is the experiment's seed."
    )

    @model_validator(mode="after")
    def _names_unique(self) -> Self:
        names = [trial.name for trial in self.trials]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise refuse(f"trials.{index}.name", f"'{name}' names two trials; rename one")
        return self


class Experiment(Section):
    """One experiment: everything that decides what is trained, evaluated and recorded."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*$",
        description="Name in folders and in MLflow: letters, digits, `_`, `-`, `.`, parts joined by `/`.",
    )
    seed: Seed = Field(default=0, description="Seed of initialisation, order of the data, dropout and masks.")
    model: ModelSpec = Field(description="Network: a preset and sizes that differ from it.")
    start_from: AbsolutePath | None = Field(
        default=None,
        description="Checkpoint folder to start from, relative to the spec file; null for random weights.",
    )
    vocabulary: Vocabulary = Field(
        default="scenes",
        description="Words of a network with random weights: `scenes`, or a vocab.txt by its path.",
    )
    data: DataSpec = Field(description="The grounding table and its batches.")
    objective: ObjectiveConfig = Field(
        default=ObjectiveConfig.model_validate({}), description="Losses and their weights."
    )
    training: TrainingSpec = Field(description="Optimisation.")
    evaluation: EvaluationSpec = Field(default=EvaluationSpec(), description="What is measured.")
    cluster: ClusterSpec = Field(default=ClusterSpec(), description="Workers.")
    tracking: TrackingSpec = Field(default=TrackingSpec(), description="Records.")
    search: SearchSpec = Field(default=SearchSpec(), description="Trials and seeds.")
    output: AbsolutePath = Field(
        default=Path("runs"),
        validate_default=True,
        description="Folder of the results, relative to the working directory.",
    )

    @model_validator(mode="after")
    def _shared_evenly(self) -> Self:
        images, workers = self.data.images_per_batch, self.cluster.workers
        if images % workers:
            problem = f"{images} images cannot be shared evenly by {workers} workers (cluster.workers)"
            raise refuse("data.images_per_batch", f"{problem}; choose a multiple of {workers}")
        return self

    @model_validator(mode="after")
    def _splits_exist(self) -> Self:
        if self.data.prepare is None:
            return self
        used = {"evaluation.splits": self.evaluation.splits}
        if self.training.steps:
            used["data.splits"] = self.data.splits
        if self.evaluation.every is not None:
            used["evaluation.validation_split"] = [self.evaluation.validation_split]
        made = self.data.prepare.splits
        for path, splits in used.items():
            for split in splits:
                if split not in made:
                    raise refuse(path, f"data.prepare makes no split '{split}'; {hint(split, made)}")
        return self
