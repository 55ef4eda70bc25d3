"""The workers of a training, and the Ray cluster that they run in."""

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

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


_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SELECTOR = re.compile(rf"(({_LABEL}/)?{_LABEL}=)?{_LABEL}")


def _selector(pool: str) -> str:
    if not _SELECTOR.fullmatch(pool):
        raise refuse("", f"'{pool}' is no label; write a name, as in a40, or KEY=VALUE, as in zone=north")
    return pool


def _seconds(wait: Any) -> Any:
    is_number = isinstance(wait, int | float) and not isinstance(wait, bool)
    if wait is not False and not (is_number and wait > 0):
        raise refuse("", f"{json.dumps(wait, default=str)} is no time to wait; write seconds, or false")
    return wait


class ClusterSpec(Section):
    """The group of Ray Train workers."""

    workers: PositiveInt | WorkerRange = Field(
        default=1,
        description="Processes that train together; with `min` and `max` as many as there is room for: the others' "
        "micro-batches are accumulated, so that the global batch stays the same.",
    )
    cpus_per_worker: PositiveFloat = Field(default=1, description="CPU cores reserved for each.")
    gpus_per_worker: NonNegativeInt = Field(default=0, description="GPUs of each; 0 trains on the CPU.")
    accelerator_type: Word | None = Field(
        default=None, description="Kind of GPU, by Ray's name of it, as in A40; null for any."
    )
    pool: Annotated[str, AfterValidator(_selector)] | None = Field(
        default=None,
        description="Nodes that workers are placed on: those started with the label pool=NAME, or with another label, "
        "written KEY=VALUE; null for all.",
    )
    placement: Literal["pack", "spread"] = Field(
        default="pack",
        description="Workers on as few nodes as they fit on, or spread over as many as there are.",
    )
    wait: Annotated[PositiveFloat | Literal[False], BeforeValidator(_seconds)] = Field(
        default=False,
        description="Seconds to wait for nodes that the cluster does not have yet; false refuses at once.",
    )
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
    def labels(self) -> dict[str, str]:
        """Labels of the nodes that workers may be placed on."""
        if self.pool is None:
            return {}
        key, _, value = self.pool.rpartition("=")
        return {key or "pool": value}

    @property
    def most(self) -> int:
        """Workers at most; the only number where it is fixed."""
        return self.workers if isinstance(self.workers, int) else self.workers.max

    @property
    def least(self) -> int:
        """Workers at least."""
        return self.workers if isinstance(self.workers, int) else self.workers.min
