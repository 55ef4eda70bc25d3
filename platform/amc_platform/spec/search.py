"""The sections `search` and `budget`: which trials an experiment has, and what they may cost."""

from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_serializer,
    model_validator,
)

from amc_platform.spec.entries import flatten
from amc_platform.spec.suggestions import either, hint
from amc_platform.spec.values import Section, Seed, Word, refuse, unique

SHAPES = ("uniform", "loguniform", "randint", "choice")
TUNE_SEARCHERS = ("tpe", "hyperopt", "bayesopt", "bohb", "nevergrad", "hebo", "ax", "zoopt")
"""TPE is Optuna's; the others are Ray Tune's by their own names, and need their own package."""


def _dotted(written: Any) -> Any:
    """`{a: {b: LEAF}}` becomes `{a.b: LEAF}`; a leaf is anything but a mapping."""
    return flatten(cast(dict[str, Any], written)) if isinstance(written, dict) else written


def _dotted_dimensions(written: Any) -> Any:
    """Likewise, where a leaf is a mapping that holds no other."""
    if not isinstance(written, dict):
        return written
    flat: dict[str, Any] = {}
    for key, value in cast(dict[str, Any], written).items():
        inner = cast(dict[str, Any], value) if isinstance(value, dict) else {}
        if inner and all(isinstance(leaf, dict) for leaf in inner.values()):
            flat |= {f"{key}.{rest}": leaf for rest, leaf in _dotted_dimensions(inner).items()}
        else:
            flat[key] = value
    return flat


class Dimension(Section):
    """The values that a field may take: exactly one of the four shapes."""

    uniform: list[float] | None = Field(default=None, description="[low, high]: any number between them.")
    loguniform: list[float] | None = Field(
        default=None, description="[low, high]: any number between them, each order of magnitude as likely."
    )
    randint: list[int] | None = Field(default=None, description="[low, high]: whole numbers, both included.")
    choice: list[Any] | None = Field(default=None, description="One of these values.")

    @model_validator(mode="before")
    @classmethod
    def _one_shape(cls, written: Any) -> Any:
        names = [str(name) for name in cast(dict[str, Any], written)] if isinstance(written, dict) else []
        if len(names) != 1:
            raise refuse("", f"must be one of {either(f'{{{shape}: [...]}}' for shape in SHAPES)}")
        if names[0] not in SHAPES:
            raise refuse(names[0], f"no such shape; {hint(names[0], SHAPES)}")
        return cast(Any, written)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        shape, values = self.shape, self.values
        if not values:
            raise refuse(shape, "is empty; name at least one value")
        if shape != "choice" and (len(values) != 2 or values[0] >= values[1]):
            raise refuse(shape, f"must be [low, high] with low below high, not {values}")
        if shape == "loguniform" and values[0] <= 0:
            raise refuse(shape, f"low must be above 0, not {values[0]:g}")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {self.shape: self.values}

    @property
    def shape(self) -> str:
        """Which of the four it is."""
        return next(shape for shape in SHAPES if getattr(self, shape) is not None)

    @property
    def values(self) -> list[Any]:
        """The bounds, or the choices."""
        return getattr(self, self.shape)


Grid = Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], BeforeValidator(_dotted)]
Space = Annotated[dict[str, Dimension], BeforeValidator(_dotted_dimensions), Field(min_length=1)]
Conditions = dict[str, dict[str, Any]]
Seeds = Annotated[list[Seed], AfterValidator(unique)]


class TrialSpec(Section):
    """One row of an ablation: a name and what differs from the experiment."""

    name: Word = Field(description="Name of the row, unique in the experiment.")
    set: dict[str, Any] = Field(default={}, description="Fields that differ, by dotted path or nested.")
    paper: Word | None = Field(
        default=None,
        description="Row of the paper beside whose figures this one is reported, such as table1/amc.",
    )


class RandomSpec(Section):
    """Rows drawn at random before anything runs: the first of 20 are those of 10."""

    n: PositiveInt = Field(description="Rows to draw.")
    space: Space = Field(description="What is drawn, by dotted path.")
    seed: Seed = Field(default=0, description="Seed of the drawing.")


class OptunaSpec(Section):
    """Rows proposed one after the other, from what the earlier ones scored."""

    n: PositiveInt = Field(description="Rows to propose.")
    space: Space = Field(description="What is searched, by dotted path.")
    metric: Word = Field(description="Metric of the validations, as in val/scenes/pointing/hard.")
    mode: Literal["max", "min"] = Field(default="max", description="Whether high or low is good.")
    algorithm: Literal["tpe", "hyperopt", "bayesopt", "bohb", "nevergrad", "hebo", "ax", "zoopt"] = Field(
        default="tpe",
        description="Optuna's TPE, or another searcher of Ray Tune, whose package must be there.",
    )
    seed: Seed = Field(default=0, description="Seed of the proposals.")


class AshaSpec(Section):
    """Stops trials that validate worse than the best of their rung (asynchronous successive halving)."""

    metric: Word = Field(description="Metric of the validations, as in val/scenes/pointing/hard.")
    mode: Literal["max", "min"] = Field(default="max", description="Whether high or low is good.")
    grace_period: PositiveInt = Field(description="Steps that every trial trains.")
    reduction_factor: float = Field(default=2, gt=1, description="Of so many trials at a rung one goes on.")
    max_t: PositiveInt | None = Field(
        default=None, description="Steps that the rungs reach up to; null for training.steps."
    )


Rows = list[TrialSpec]


class SearchSpec(Section):
    """Rows times seeds, the rows of at most one kind; empty is a single run of the experiment itself."""

    list: Rows = Field(default=[], description="Rows written out, each with a name.")
    grid: Grid = Field(default={}, description="Values by dotted path; every combination is a row.")
    random: RandomSpec | None = Field(default=None, description="Rows drawn at random.")
    optuna: OptunaSpec | None = Field(default=None, description="Rows proposed by a search algorithm.")
    when: Conditions = Field(
        default={},
        description="For a field of grid or space: the values of other fields with which it is varied.",
    )
    seeds: Seeds = Field(
        default=[], description="Seeds with which every row is run; none is the experiment's seed."
    )
    asha: AshaSpec | None = Field(default=None, description="Stopping trials that are behind.")
    max_concurrent: PositiveInt | None = Field(
        default=None, description="Trials at a time; null for as many as the cluster holds."
    )

    @property
    def varied(self) -> "dict[str, Any]":
        """The fields that are varied by path, and how."""
        chosen = self.random or self.optuna
        return dict(chosen.space) if chosen else dict(self.grid)

    @property
    def tuned(self) -> bool:
        """Whether results decide what is trained, so that Ray Tune conducts."""
        return self.optuna is not None or self.asha is not None

    @model_validator(mode="after")
    def _names_unique(self) -> Self:
        names = [row.name for row in self.list]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise refuse(f"list.{index}.name", f"'{name}' names two rows; rename one")
        return self

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in ("list", "grid", "random", "optuna") if getattr(self, kind)]
        if len(kinds) > 1:
            raise refuse(kinds[1], f"search.{kinds[0]} is there already; keep one of them")
        if self.optuna and self.asha and len(self.seeds) > 1:
            raise refuse("seeds", "optuna with asha compares single trainings; search with one seed")
        return self

    @model_validator(mode="after")
    def _checkpoints_by_row(self) -> Self:
        if "start_from" in self.varied:
            # Its path is relative to the file of the row.
            raise refuse("", "start_from cannot be varied here; write its rows under search.list")
        return self

    @model_validator(mode="after")
    def _conditions_of_varied_fields(self) -> Self:
        for path, conditions in self.when.items():
            if path not in self.varied:
                remedy = hint(path, self.varied) if self.varied else "vary it by grid, random or optuna"
                raise refuse("when", f"{path} is not varied; {remedy}")
            if path in conditions:
                raise refuse("when", f"{path} depends on itself; name another field")
        return self


class BudgetSpec(Section):
    """What the trials that are still to be run may take; more is refused before anything starts."""

    device_hours: NonNegativeFloat | None = Field(
        default=None, description="Most hours of devices (GPUs, or CPU cores without any)."
    )
    price_per_device_hour: NonNegativeFloat | None = Field(
        default=None, description="Price of a device hour, in a currency of yours."
    )
    limit: NonNegativeFloat | None = Field(
        default=None, description="Most that it may cost, in that currency."
    )
    pairs_per_second: PositiveFloat | None = Field(
        default=None,
        description="Speed of a trial on all its workers together; null for that of finished ones or of a probe.",
    )

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.limit is not None and self.price_per_device_hour is None:
            raise refuse("price_per_device_hour", "missing; a limit in money needs it")
        return self
