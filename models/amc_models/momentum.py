"""Momentum copies (exponential moving averages) and the queues of their features."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def update_average(average: nn.Module, online: nn.Module, momentum: float) -> None:
    """average <- m * average + (1 - m) * online, over all parameters in one pass."""
    update = get_ema_multi_avg_fn(momentum)
    update(list(average.parameters()), list(online.parameters()), 0)


@torch.no_grad()
def gather_ranks(rows: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "all_rows ..."]:
    """Rows of all ranks in rank order, without gradient; the same where nothing is distributed."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    rows = rows.contiguous()
    gathered = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, rows)
    return torch.cat(gathered)


@torch.no_grad()
def enqueue(
    queue: Float[Tensor, "embedding size"],
    pointer: Int[Tensor, "..."],
    features: Float[Tensor, "pairs embedding"],
    wanted: Bool[Tensor, ""] | None = None,
) -> None:
    """Write `features` as columns from `pointer` on, wrapping around; of more than fit, the newest stay.

    Nothing changes where `wanted` is false. Nothing waits for the device: pointer and `wanted` stay on it.
    """
    size = queue.shape[1]
    kept = features[-size:]
    skipped = features.shape[0] - kept.shape[0]
    columns = (torch.arange(kept.shape[0], device=queue.device) + pointer + skipped) % size
    new, ahead = kept.T.to(queue.dtype), pointer + features.shape[0]
    if wanted is not None:
        new, ahead = torch.where(wanted, new, queue[:, columns]), torch.where(wanted, ahead, pointer)
    queue[:, columns] = new
    pointer.copy_(ahead % size)
