"""What a worker hands to collectives in a step: counted where torch dispatches them, and by formula."""

import time
from collections import defaultdict
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from amc_models.config import AlbefConfig

# Where a collective's own contribution stands among its arguments.
_GIVEN = {"allreduce_": 0, "allgather_": 1, "broadcast_": 0}
GRADIENT_BYTES = {"fp32": 4, "bf16": 2}


class Sent(NamedTuple):
    """One collective."""

    kind: str
    bytes: int
    """Of this worker's contribution."""
    after_s: float
    """Seconds after counting began."""


class Traffic(TorchDispatchMode):
    """While active, `sent` collects every collective of this process, those of DDP's buckets included."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self._began = time.perf_counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.namespace == "c10d":
            kind = func.overloadpacket.__name__
            given: list[Tensor] = args[_GIVEN[kind]]
            size = sum(tensor.numel() * tensor.element_size() for tensor in given)
            self.sent.append(Sent(kind, size, time.perf_counter() - self._began))
        return func(*args, **(kwargs or {}))

    @property
    def bytes(self) -> dict[str, int]:
        """Of each kind of collective."""
        totals: dict[str, int] = defaultdict(int)
        for sent in self.sent:
            totals[sent.kind] += sent.bytes
        return dict(totals)


def expected_bytes(model: nn.Module, config: AlbefConfig, pairs: int, precision: str) -> dict[str, int]:
    """By formula, with `objective.batch: share`: a gradient a trained weight, and the momentum features of the queues.

    `pairs`: of this worker. Beside them goes one number of 8 bytes, by which ranks agree on whether to pause.
    """
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {
        "allreduce_": weights * GRADIENT_BYTES[precision] + 8,
        "allgather_": 2 * pairs * config.embedding_size * 4,
    }
