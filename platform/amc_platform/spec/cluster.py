"""The workers of a training, and the Ray cluster that they run in."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from amc_platform.spec.values import Section, Word, refuse


class WorkerRange(Section):
    """A number of workers that follows the room in the cluster."""

    min: PositiveInt = Field(description="With fewer, training waits.")
    max: PositiveInt = Field(
        description="More are not taken; it counts as the number of workers in identities."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise refuse("min", f"{self.min} is more than max, {self.max}")
        return self


class ClusterSpec(Section):
    """The group of Ray Train workers."""

    workers: PositiveInt | WorkerRange = Field(
        default=1,
        description="Processes that train together; with `min` and `max` as many as there is room for: the others' "
        "micro-batches are accumulated, so that the global batch stays the same.",
    )
    cpus_per_worker: PositiveFloat = Field(default=1, description="CPU cores reserved for each.")
    gpus_per_worker: NonNegativeInt = Field(default=0, description="GPUs of each; 0 trains on the CPU.")
    gradient_precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Arithmetic in which workers average gradients; bf16 sends half the bytes and rounds.",
    )
    address: Word | None = Field(
        default=None, description="Address of a running Ray cluster; null starts one here."
    )
    max_failures: NonNegativeInt = Field(
        default=3, description="Restarts from the last checkpoint after a worker failed."
    )
    hang_timeout_s: PositiveFloat = Field(
        default=1800,
        description="Seconds without a step after which the workers count as hanging and are started again; more than "
        "a validation takes.",
    )
    storage_timeout_s: NonNegativeFloat = Field(
        default=180,
        description="Seconds for which a write that the storage of the results refuses (full, away) is tried again, "
        "before training ends; less than hang_timeout_s. Meanwhile it goes on as far as the next checkpoint.",
    )

    @property
    def most(self) -> int:
        """Workers at most; the only number where it is fixed."""
        return self.workers if isinstance(self.workers, int) else self.workers.max

    @property
    def least(self) -> int:
        """Workers at least."""
        return self.workers if isinstance(self.workers, int) else self.workers.min
