"""Which images make a batch: a function of seed and epoch alone, cut evenly among the workers."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int


class SamplerState(NamedTuple):
    """Where a training stands in its data; nothing else is needed to go on."""

    epoch: int
    position: int
    """Images of the epoch that were drawn before, over all workers."""
    seed: int


@dataclass(frozen=True)
class Sampler:
    """Every epoch is one permutation of the images; what fills no batch at its end is left out.

    The workers' shares of a batch, in rank order, are the batch of a single worker.
    """

    images: int
    per_batch: int
    """Images a batch, over all workers."""
    seed: int
    rank: int = 0
    workers: int = 1

    def state(self, step: int) -> SamplerState:
        """Where step number `step` (from 0) begins."""
        epoch, batch = divmod(step, self.images // self.per_batch)
        return SamplerState(epoch, batch * self.per_batch, self.seed)

    def batch(self, state: SamplerState) -> Int[np.ndarray, " images"]:
        """Numbers of all images of the batch that begins at `state`, those of all workers in rank order."""
        return _order(state.seed, state.epoch, self.images)[state.position : state.position + self.per_batch]

    def share(self, state: SamplerState) -> Int[np.ndarray, " images"]:
        """Numbers of this worker's images in the batch that begins at `state`."""
        first, last = (rank * self.per_batch // self.workers for rank in (self.rank, self.rank + 1))
        return self.batch(state)[first:last]


# Batches are made ahead, so that two epochs are in use at once where one ends.
@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, images: int) -> Int[np.ndarray, " images"]:
    return np.random.default_rng([seed, 0, epoch]).permutation(images)
