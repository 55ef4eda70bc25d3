"""Counts, on a CPU, what would make the host wait for a GPU: reading a number, and shapes that depend on content."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ATEN: Any = torch.ops.aten
# torch.multinomial checks its weights on the host.
WAIT = {ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN._unique2, ATEN.multinomial}
BY_MASK = {ATEN.index, ATEN.index_put, ATEN.index_put_}


class Waits(TorchDispatchMode):
    """While active, `found` collects the names of such operations; a boolean mask as an index is one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._on_host = False

    def on_host(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which works on tensors before they are sent to a GPU; nothing in it counts."""

        def uncounted(*arguments: Any, **options: Any) -> Any:
            before, self._on_host = self._on_host, True
            try:
                return function(*arguments, **options)
            finally:
                self._on_host = before

        return uncounted

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func.overloadpacket
        by_mask = packet in BY_MASK and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if (packet in WAIT or by_mask) and not self._on_host:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))
