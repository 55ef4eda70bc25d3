"""The group of workers a process belongs to; a single process is a group of one."""

from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import torch
from torch import distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerGroup:
    """Rank, size and device of this worker."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls) -> Self:
        """The group torch.distributed was initialised with."""
        device = (
            torch.device("cuda", torch.cuda.current_device())
            if torch.cuda.is_available()
            else torch.device("cpu")
        )
        if not distributed.is_initialized():
            return cls(0, 1, device)
        return cls(distributed.get_rank(), distributed.get_world_size(), device)

    @property
    def leads(self) -> bool:
        """Whether this worker writes for all."""
        return self.rank == 0

    def wrap(
        self,
        module: nn.Module,
        *,
        all_parameters_used: bool,
        gradient_precision: Literal["fp32", "bf16"] = "fp32",
    ) -> nn.Module:
        """Average gradients over the group. Losses are made inside `module`'s forward, heatmap gradients included.

        Parameters that no loss reads are looked for only where an objective is off: unlooked for, they would leave
        gradients unaveraged. `static_graph` stays off: it gives the same gradients, and fails in micro-batches that do
        not synchronise. tests/training/test_ddp_options.py tries all of it.
        """
        if self.size == 1:
            return module
        wrapped = nn.parallel.DistributedDataParallel(
            module,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            # Queues are equal by construction: every rank enqueues the gathered features.
            broadcast_buffers=False,
            find_unused_parameters=not all_parameters_used,
        )
        if gradient_precision == "bf16":
            wrapped.register_comm_hook(None, bf16_compress_hook)
        return wrapped

    def gather(self, value: T) -> list[T]:
        """`value` of every rank, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value)
        return gathered

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean over ranks."""
        if self.size == 1:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.size

    def most(self, value: int) -> "Answer":
        """The largest `value` of all ranks; nothing waits for it before it is read."""
        # Filled on the device: a copy from here would wait for it.
        largest = torch.full((), value, device=self.device)
        work = None
        if self.size > 1:
            work = distributed.all_reduce(largest, distributed.ReduceOp.MAX, async_op=True)
        return Answer(largest, work)


class Answer:
    """A number that the ranks agree on, under way while training goes on."""

    def __init__(self, number: torch.Tensor, work: distributed.Work | None) -> None:
        self._number, self._work, self._copied = number, work, None
        if number.is_cuda:
            if work is not None:
                # On a GPU this makes its queue wait, and nothing here.
                work.wait()
            # Read where it lies, it would come after everything that is in the queue by then.
            self._number = torch.empty((), dtype=number.dtype, pin_memory=True)
            self._number.copy_(number, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def read(self) -> int:
        """The number. Waits for what was in the queue of a GPU when it was asked for, no more."""
        if self._copied is not None:
            self._copied.synchronize()
        elif self._work is not None:
            self._work.wait()
        return int(self._number)
