"""The beginning of a step of the global batch: what its shares have to know of each other before any gradient."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.batch import Batch, Draws, MaskedText, sent
from amc_models.gradcam import upsample
from amc_models.momentum import gather_ranks
from amc_models.objectives.attention_mask import Sums, pooled_sums
from amc_models.objectives.config import AmcLoss, MeanLoss, ObjectiveConfig
from amc_models.objectives.encoded import Encoded
from amc_models.objectives.masked_language import Among
from amc_models.objectives.total import Objectives
from amc_models.objectives.whole import Whole, gather


class Drawn(NamedTuple):
    """What is drawn for a step of the global batch, but for dropout."""

    uniform: Float[Tensor, "2 all_pairs"]
    """As Whole has it."""
    draws: list[Draws]
    """Of this worker's micro-batches."""

    def to(self, device: torch.device) -> "Drawn":
        """The same on `device`."""
        return Drawn(sent(self.uniform, device), [draws.to(device) for draws in self.draws])


def draw(
    objectives: Objectives, own: Sequence[Batch], first: int, shares: int, generator: torch.Generator
) -> Drawn:
    """Draw for `own`, shares number `first` and on of `shares`, before they are sent to a GPU.

    `generator`: equal on all workers; all draw for all pairs, so that a pair's numbers do not depend on who needs them.
    """
    pairs = len(own[0].input_ids)
    uniform = torch.rand(2, pairs * shares, generator=generator)
    if not objectives.weights["mlm"]:
        return Drawn(uniform, [Draws()] * len(own))
    among = Among(pairs * shares, slice(first * pairs, (first + len(own)) * pairs), generator)
    masked = objectives.mask(
        torch.cat([batch.input_ids for batch in own]), torch.cat([batch.maskable for batch in own]), among
    )
    parts = zip(masked.input_ids.split(pairs), masked.labels.split(pairs), strict=True)
    draws = [Draws(masked=objectives.found(MaskedText(ids, labels))) for ids, labels in parts]
    return Drawn(uniform, draws)


@torch.no_grad()
def survey(
    objectives: Objectives,
    own: Sequence[Batch],
    drawn: Drawn,
    first: int,
    alpha: float,
    reseed: Callable[[int], None],
) -> Whole:
    """Move the averages, and gather over all workers what the losses of `own` will read.

    `own`: this worker's micro-batches, shares number `first` and on. `reseed`: sets torch's random numbers to those of
    a share, so that the maps that are pooled here are those of its forward pass. Raises InputError where the global
    batch has one image only.
    """
    objectives.begin_step()
    whole = gather(own, drawn.uniform)
    hidden = [(draws.masked.labels >= 0).sum() for draws in drawn.draws if draws.masked is not None]
    if hidden:
        words = gather_ranks(torch.stack(hidden)).sum().clamp(min=1)
        whole = replace(whole, words=words / whole.shares)
    features: list[tuple[Tensor, Tensor]] = []
    sums = torch.zeros(4, device=whole.images.device, dtype=whole.images.dtype)
    pools = _pools(objectives.config)
    for number, (batch, draws) in enumerate(zip(own, drawn.draws, strict=True), start=first):
        masked = draws.masked
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
