"""A checkpoint evaluated by several processes, with the same hits as by one."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from amc_platform.data.rows import ImageRow
from amc_platform.evaluation.evaluator import batches_of, evaluate
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.network import heatmaps_of, image_loader, load_network
from amc_platform.evaluation.proposals import Proposals
from amc_platform.evaluation.protocol import Protocol

MOST_WORKERS = 8
"""Processes that are started unasked: each holds the network."""


@dataclass(frozen=True)
class Evaluation:
    """What a process needs to know to evaluate a batch of images."""

    checkpoint: Path
    protocol: Protocol
    vocabulary: Path | None = None
    proposals: Path | None = None


def evaluate_checkpoint(
    evaluation: Evaluation,
    rows: Sequence[ImageRow],
    *,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Hit]:
    """Hits of all rows, in their order, by `workers` processes (None: one a core, or one if there is a GPU).

    Which images make a batch does not depend on `workers`, and each process uses one thread: both would change the last
    bit of a sum, and with it, now and then, a point. `progress` is called with the number of images done since its
    last call. Raises InputError like `evaluate`, and where the proposals are of other images.
    """
    if evaluation.proposals is not None:
        Proposals.read(evaluation.proposals).check(rows)
    batches = batches_of(rows)
    workers = min(workers or default_workers(), len(batches))
    hits: list[Hit] = []
    with _scored(evaluation, batches, workers) as scored:
        for batch, of_batch in zip(batches, scored, strict=True):
            hits += of_batch
            if progress is not None:
                progress(len(batch))
    return hits


def default_workers() -> int:
    """One a core that this process may use, eight at most; one where there is a GPU."""
    return 1 if torch.cuda.is_available() else min(len(os.sched_getaffinity(0)), MOST_WORKERS)


@contextmanager
def _scored(
    evaluation: Evaluation, batches: Sequence[Sequence[ImageRow]], workers: int
) -> Iterator[Iterator[list[Hit]]]:
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield (_score(evaluation, batch) for batch in batches)
        finally:
            torch.set_num_threads(threads)
            _scorer.cache_clear()
        return
    # Fresh processes: a copy of this one would hold the locks of its threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.map(_score, [evaluation] * len(batches), batches)


def _score(evaluation: Evaluation, batch: Sequence[ImageRow]) -> list[Hit]:
    return _scorer(evaluation)(batch)


@cache
def _scorer(evaluation: Evaluation) -> Callable[[Sequence[ImageRow]], list[Hit]]:
    """The network is loaded with the first batch, where an error still reaches the caller."""
    model = load_network(evaluation.checkpoint, evaluation.protocol, evaluation.vocabulary)
    load = image_loader(model, evaluation.protocol)
    proposals = None if evaluation.proposals is None else Proposals.read(evaluation.proposals)

    def score(batch: Sequence[ImageRow]) -> list[Hit]:
        return evaluate(heatmaps_of(model), batch, evaluation.protocol, load, proposals=proposals)

    return score
