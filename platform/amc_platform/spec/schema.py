"""What a spec may say: one frozen model a section, every field described, nothing unknown accepted."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from amc_models.objectives.config import ObjectiveConfig
from amc_platform.spec.cluster import ClusterSpec
from amc_platform.spec.search import BudgetSpec, SearchSpec
from amc_platform.spec.sources import DataSource
from amc_platform.spec.suggestions import hint
from amc_platform.spec.tracking import TrackingSpec
from amc_platform.spec.training import TrainingSpec
from amc_platform.spec.values import (
    AbsolutePath,
    Checkpoint,
    ModelSpec,
    ProtocolName,
    Section,
    Seed,
    Vocabulary,
    Word,
    Words,
    refuse,
)


class DataSpec(Section):
    """The grounding table and how batches are drawn from it."""

    table: AbsolutePath = Field(description="Grounding table (.parquet), relative to the working directory.")
    prepare: DataSource | None = Field(default=None, description="How to make the table where it is missing.")
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
    preset: Literal["none", "paper", "published"] = Field(
        default="none",
        description="Augmentation: none but resizing; the paper's flips, jitter and gray by torchvision; "
        "or the published code's, to the bit.",
    )
    flip: Literal["off", "plain", "swap"] | None = Field(
        default=None,
        description="Mirror half of the images: never, as published, or swapping left and right in words; "
        "null as the preset has it (none: off, paper: swap, published: plain).",
    )
    empty_regions: Literal["error", "skip"] = Field(
        default="skip",
        description="A phrase whose region is empty ends the training, or trains without AMC and is counted.",
    )
    loader_workers: PositiveInt = Field(
        default=1, description="Threads of each worker that make batches while the network trains."
    )

    @model_validator(mode="after")
    def _is_table(self) -> Self:
        if self.table.suffix != ".parquet":
            raise refuse(
                "table", f"{self.table.name} is not a grounding table; name a file that ends in .parquet"
            )
        return self


class EvaluationSpec(Section):
    """What is measured, when, and by which protocol."""

    protocol: ProtocolName = Field(
        default="scenes",
        description="Named evaluation protocol, or a YAML file of one's own, relative to the working directory.",
    )
    table: AbsolutePath | None = Field(
        default=None,
        description="Grounding table that is evaluated and validated on, relative to the working directory; "
        "null for data.table.",
    )
    splits: Words = Field(default=["test"], description="Splits evaluated at the end.")
    every: PositiveInt | None = Field(
        default=None, description="Steps between two validations; null for none before the end."
    )
    validation_split: Word = Field(default="val", description="Split of the validations during training.")
    validation_images: PositiveInt | None = Field(
        default=None, description="First images of it to use; null for all."
    )
    gallery: NonNegativeInt = Field(default=12, description="Heatmaps drawn per evaluation.")
    filmstrip: NonNegativeInt = Field(
        default=3,
        description="Phrases of the gallery whose heatmaps at all validations are drawn as one picture.",
    )
    keep_best: bool = Field(
        default=True, description="Keep the weights of the best validation beside the last ones."
    )


class ReportSpec(Section):
    """What the report compares; nothing in it changes a training."""

    reference: Word | None = Field(
        default=None, description="Row with which the others are compared; null for the last one."
    )


class Experiment(Section):
    """One experiment: everything that decides what is trained, evaluated and recorded."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*$",
        description="Name in folders and in MLflow: letters, digits, `_`, `-`, `.`, parts joined by `/`.",
    )
    seed: Seed = Field(default=0, description="Seed of initialisation, order of the data, dropout and masks.")
    model: ModelSpec = Field(description="Network: a preset and sizes that differ from it.")
    start_from: Checkpoint | None = Field(
        default=None,
        description="Checkpoint to start from, relative to the spec file: a folder of ours, a published .pth, .pt or "
        ".safetensors file, or a registered one (models:/amc-scenes@single); null for random weights.",
    )
    vocabulary: Vocabulary = Field(
        default="scenes",
        description="Words of a network with random weights or from a published file: `scenes`, or a vocab.txt or "
        "its folder by path.",
    )
    data: DataSpec = Field(description="The grounding table and its batches.")
    objective: ObjectiveConfig = Field(
        default=ObjectiveConfig.model_validate({}), description="Losses and their weights."
    )
    training: TrainingSpec = Field(description="Optimisation.")
    evaluation: EvaluationSpec = Field(default=EvaluationSpec(), description="What is measured.")
    cluster: ClusterSpec = Field(default=ClusterSpec(), description="Workers.")
    tracking: TrackingSpec = Field(default=TrackingSpec(), description="Records.")
    search: SearchSpec = Field(default=SearchSpec(), description="Rows, seeds and stopping.")
    budget: BudgetSpec = Field(default=BudgetSpec(), description="What may be spent.")
    report: ReportSpec = Field(default=ReportSpec(), description="What the report compares.")
    output: AbsolutePath = Field(
        default=Path("runs"),
        validate_default=True,
        description="Folder of the results, relative to the working directory.",
    )

    @property
    def evaluated_table(self) -> Path:
        """The table that is evaluated and validated on."""
        return self.evaluation.table or self.data.table

    @model_validator(mode="after")
    def _shared_evenly(self) -> Self:
        images, workers = self.data.images_per_batch, self.cluster.most
        if images % workers:
            problem = f"{images} images cannot be shared evenly by {workers} workers (cluster.workers)"
            raise refuse("data.images_per_batch", f"{problem}; choose a multiple of {workers}")
        if images % self.shares:
            problem = (
                f"{images} images make no {self.shares} equal micro-batches (workers x training.accumulation)"
            )
            raise refuse("data.images_per_batch", f"{problem}; choose a multiple of {self.shares}")
        return self

    @property
    def shares(self) -> int:
        """Micro-batches that make a global batch: workers times accumulation."""
        return self.cluster.most * self.training.accumulation

    @property
    def sizes(self) -> list[int]:
        """Numbers of workers among which the micro-batches can be shared evenly, the largest first."""
        numbers = range(self.cluster.most, self.cluster.least - 1, -1)
        return [number for number in numbers if self.shares % number == 0]

    def cut_for(self, workers: int, *, finer: int = 1) -> Self:
        """The same training on `workers` workers; `finer` times as many micro-batches make the global batch."""
        cluster = self.cluster.model_copy(update={"workers": workers})
        accumulation = self.shares * finer // workers
        training = self.training.model_copy(update={"accumulation": accumulation})
        return self.model_copy(update={"cluster": cluster, "training": training})

    @model_validator(mode="after")
    def _search_is_validated(self) -> Self:
        """A search looks at validations: what it chooses must not have seen a test split."""
        split = self.evaluation.validation_split
        for name, section in (("optuna", self.search.optuna), ("asha", self.search.asha)):
            if section is None:
                continue
            if self.evaluation.every is None:
                raise refuse("evaluation.every", f"missing; search.{name} looks at validations")
            if split.startswith("test"):
                problem = (
                    f"search.{name} would choose by '{split}' what is then measured on it; name another split"
                )
                raise refuse("evaluation.validation_split", problem)
            if not section.metric.startswith(f"{split}/"):
                problem = f"{section.metric} is no metric of the validations, which are on {split}"
                raise refuse(f"search.{name}.metric", f"{problem}; say for instance {split}/scenes/pointing")
        return self

    @model_validator(mode="after")
    def _splits_exist(self) -> Self:
        if self.data.prepare is None:
            return self
        used = {"data.splits": self.data.splits} if self.training.steps else {}
        if self.evaluation.table is None:
            used["evaluation.splits"] = self.evaluation.splits
            if self.evaluation.every is not None:
                used["evaluation.validation_split"] = [self.evaluation.validation_split]
        made = self.data.prepare.splits
        for path, splits in used.items():
            for split in splits:
                if split not in made:
                    raise refuse(path, f"data.prepare makes no split '{split}'; {hint(split, made)}")
        return self
