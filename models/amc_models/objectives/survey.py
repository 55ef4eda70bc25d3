"""The beginning of a step of the global batch: what its shares have to know of each other before any gradient."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from amc_models.batch import Batch
from amc_models.gradcam import upsample
from amc_models.momentum import gather_ranks
from amc_models.objectives.attention_mask import Sums, pooled_sums
from amc_models.objectives.config import AmcLoss, MeanLoss, ObjectiveConfig
from amc_models.objectives.total import Encoded, Objectives
from amc_models.objectives.whole import Share, Whole, gather


@torch.no_grad()
def survey(
    objectives: Objectives,
    own: Sequence[Batch],
    first: int,
    alpha: float,
    generator: torch.Generator,
    reseed: Callable[[int], None],
) -> Whole:
    """Move the averages, draw what is drawn, and gather over all workers what the losses of `own` will read.

    `own`: this worker's micro-batches, shares number `first` and on. `generator`: of all draws but dropout, equal on
    all workers. `reseed`: sets torch's random numbers to those of a share, so that the maps that are pooled here are
    those of its forward pass. Raises InputError where the global batch has one image only.
    """
    objectives.begin_step()
    whole = gather(own, generator)
    if objectives.weights["mlm"]:
        whole = replace(whole, masked=objectives.mask(whole, generator))
    features: list[tuple[Tensor, Tensor]] = []
    sums = torch.zeros(4, device=whole.images.device, dtype=whole.images.dtype)
    pools = _pools(objectives.config)
    for number, batch in enumerate(own, start=first):
        masked = Share(whole, number).masked
        # In the order of a forward pass, so that dropout comes out the same there.
        reseed(number)
        online = objectives.encode(batch, masked) if pools else None
        if objectives.reads_momentum(alpha):
            features.append(objectives.encode(batch, masked, momentum=True).features)
        if online is not None:
            sums += torch.stack(list(_map_sums(objectives, batch, online)))
    if features:
        image, text = (gather_ranks(torch.cat(of)) for of in zip(*features, strict=True))
        whole = replace(whole, keys=(image, text))
    if pools:
        whole = replace(whole, sums=Sums(*gather_ranks(sums[None]).sum(dim=0)))
    return whole


def _pools(config: ObjectiveConfig) -> bool:
    """Whether a hinge is on means over all pixels of the batch."""
    return isinstance(config.amc, AmcLoss | MeanLoss) and config.amc.mean_hinge == "batch"


def _map_sums(objectives: Objectives, batch: Batch, encoded: Encoded) -> Sums:
    with torch.enable_grad():
        _, maps = objectives.positive(batch, encoded, differentiable=False)
    assert maps is not None
    chosen = upsample(maps.detach()[batch.with_region], batch.region_masks.shape[-1])
    return pooled_sums(chosen, batch.region_masks[batch.with_region])
