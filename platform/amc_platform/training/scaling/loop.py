"""The loop that is timed: real steps on one batch, in whatever group of workers this process is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, Literal

import torch
from torch import distributed
from torch.utils.flop_counter import FlopCounterMode

from amc_models.albef import Albef
from amc_models.benchmarks.synthetic import synthetic_batch
from amc_models.config import AlbefConfig
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives
from amc_platform.spec import TrainingSpec
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.scaling.traffic import Traffic, expected_bytes
from amc_platform.training.step import Stepper

MASK_TOKEN_ID = 4
BUCKET_BYTES = 25 * 2**20
"""DDP's own size of a bucket."""

What = Literal["fp32", "bf16", "traffic", "transfer", "profile"]


@dataclass(frozen=True)
class Turn:
    """What a group does when it is its turn."""

    what: What
    """Steps with gradients averaged in a precision; what one of them sends; that alone; or when it sends what."""
    steps: int = 1


@dataclass(frozen=True)
class Sizes:
    """What is trained, by each worker."""

    network: Literal["base", "small"]
    images: int
    phrases: int
    profiled: Literal["base", "small"]
    """Network whose gradients are watched; with two images, one phrase each."""


@dataclass
class Loop:
    """Networks and batches of one worker, made when they are first wanted."""

    group: WorkerGroup
    sizes: Sizes

    def __post_init__(self) -> None:
        self._step = 0
        self._steppers: dict[str, Stepper] = {}

    def take(self, turn: Turn) -> dict[str, Any]:
        """Do `turn`; what was found, ready for JSON."""
        match turn.what:
            case "traffic":
                return {precision: self._traffic(precision) for precision in ("fp32", "bf16")}
            case "transfer":
                return self._timed(self._transfer, turn.steps)
            case "profile":
                return self._profile()
            case precision:
                return self._timed(lambda: self._train(precision), turn.steps)

    def _timed(self, run: Callable[[], None], repeats: int) -> dict[str, float]:
        """Seconds of one of `repeats` runs; a first one is not timed.

        `wall`: their median; `fastest`: the least, which other work on the machine disturbs least; `cpu`: of this
        process.
        """
        run()
        walls: list[float] = []
        cpu = time.process_time()
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            walls.append(time.perf_counter() - began)
        return {
            "wall": median(walls),
            "fastest": min(walls),
            "cpu": (time.process_time() - cpu) / repeats,
        }

    @cached_property
    def _batch(self) -> Any:
        sizes = self.sizes
        config = AlbefConfig.preset(sizes.network)
        return synthetic_batch(config, sizes.images, sizes.phrases, seed=self.group.rank)

    def _stepper(self, precision: Literal["fp32", "bf16"]) -> Stepper:
        if precision not in self._steppers:
            self._steppers[precision] = _stepper(self.sizes.network, self.group, precision)
        return self._steppers[precision]

    def _train(self, precision: Literal["fp32", "bf16"]) -> None:
        """A step as a training does it, with the ranks' word on whether to pause (see orders.py)."""
        self._stepper(precision).step(self._batch, self._step)
        self._step += 1
        self.group.most(0).read()

    def _traffic(self, precision: Literal["fp32", "bf16"]) -> dict[str, Any]:
        # After its first step DDP sorts its buckets anew, and says so to all.
        for _ in range(2):
            self._train(precision)
        with Traffic() as traffic:
            self._train(precision)
        model = self._stepper(precision).objectives.model
        pairs = self.sizes.images * self.sizes.phrases
        return {
            "counted": traffic.bytes,
            "formula": expected_bytes(model, model.config, pairs, precision),
            "collectives": len(traffic.sent),
        }

    def _transfer(self) -> None:
        """The gradients alone, in pieces as large as buckets."""
        model = self._stepper("fp32").objectives.model
        left = sum(p.numel() for p in model.parameters() if p.requires_grad)
        while left > 0:
            distributed.all_reduce(torch.zeros(min(left, BUCKET_BYTES // 4)))
            left -= BUCKET_BYTES // 4

    def _profile(self) -> dict[str, Any]:
        """When a step of the profiled network has which gradients ready, as a share of its passes' time."""
        name = self.sizes.profiled
        # As in a group of two, but nobody is there to wait for.
        stepper = _stepper(name, WorkerGroup(0, 2, self.group.device), "fp32")
        config = stepper.objectives.model.config
        batch = synthetic_batch(config, 2)
        for step in range(2):
            stepper.step(batch, step)
        with Traffic() as traffic:
            stepper.step(batch, 2)
        sent = [one for one in traffic.sent if one.kind == "allreduce_"]
        # The last bucket is full when the backward pass ends.
        return {
            "network": name,
            "buckets": [[one.after_s / sent[-1].after_s, one.bytes] for one in sent],
            "flop_per_pair": flop_per_pair(config),
            "feature_bytes_per_pair": 2 * config.embedding_size * 4,
        }


def _stepper(
    network: Literal["base", "small"], group: WorkerGroup, precision: Literal["fp32", "bf16"]
) -> Stepper:
    torch.manual_seed(0)
    objectives = Objectives(Albef(AlbefConfig.preset(network)), ObjectiveConfig(), MASK_TOKEN_ID)
    spec = TrainingSpec(steps=10_000, lr=1e-5, lr_min=1e-6, warmup_steps=0, clip_norm=1.0)
    return Stepper(objectives, spec, group, 0, precision)


def flop_per_pair(config: AlbefConfig) -> float:
    """Operations of the matrix products of a step, a pair; counted on tensors without content."""
    pairs = 4
    with torch.device("meta"):
        model = Albef(config).train()
    objectives = Objectives(model, ObjectiveConfig(), MASK_TOKEN_ID)
    batch = synthetic_batch(config, pairs)
    nowhere = torch.device("meta")
    draws = objectives.prepare(batch).to(nowhere)
    with FlopCounterMode(display=False) as counter:
        objectives(batch.to(nowhere), 0.4, draws)["total"].backward()
    return counter.get_total_flops() / pairs
