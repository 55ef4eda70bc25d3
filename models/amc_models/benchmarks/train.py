"""The training step against its plain reference: equal losses first, then time, memory and throughput of both."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from amc_models.albef import Albef
from amc_models.batch import Draws
from amc_models.benchmarks.meters import (
    Lap,
    datasheet_flops,
    hardware,
    kept_for_backward,
    matmul_rate,
    timed,
)
from amc_models.benchmarks.reference import ReferenceObjectives
from amc_models.benchmarks.synthetic import fixed_draws, synthetic_batch
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.objectives.config import ObjectiveConfig
from amc_models.objectives.total import Objectives
from amc_models.precision import Precision, autocast, fast_cpu_matmul

ALPHA, MASK_TOKEN_ID, LEARNING_RATE = 0.4, 4, 1e-6
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 0.01}
"""Largest deviation of a loss from the reference in float32."""
MIB = 2**20


@dataclass(frozen=True)
class TrainBenchmark:
    """What is measured. `images` a step; the reference computes in float32 whatever `precision` says."""

    size: Literal["base", "small"] = "base"
    images: int = 4
    phrases_per_image: int = 1
    precision: Precision = "fp32"
    checkpointing: bool = False
    compiled: bool = False
    repeats: int = 5
    length: int = 20

    def run(self, report: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
        """Everything measured, ready for JSON; without times where the losses differ. `report`: repeats done, of all.

        Raises InputError for a batch that cannot have negatives, and where weights are not finite after a step.
        """
        if self.images < 2:
            raise InputError("--batch: image-text matching needs at least 2 images")
        bench = _Bench(self)
        result: dict[str, Any] = asdict(self) | {
            "hardware": hardware(bench.device),
            "torch": torch.__version__,
        }
        result["losses"] = bench.losses()
        result["tolerance"] = TOLERANCE[self.precision]
        result["equal"] = all(loss["deviation"] <= result["tolerance"] for loss in result["losses"].values())
        if result["equal"]:
            result |= bench.memory() | bench.times(report)
            result |= bench.floor(bench.flops(), result["seconds"]["fast"])
        return result


class _Bench:
    """One network, one optimiser and one batch, which the reference and the fast path share."""

    def __init__(self, what: TrainBenchmark) -> None:
        self.what = what
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.on_gpu = self.device.type == "cuda"
        torch.manual_seed(0)
        config = AlbefConfig.preset(what.size)
        self.model = Albef(config).to(self.device).train()
        self.model.checkpoint_activations(what.checkpointing)
        if what.compiled:
            self.model.compile_image_encoder()
        batch = synthetic_batch(config, what.images, what.phrases_per_image, length=what.length)
        self.loaded, self.batch = batch, batch.to(self.device)
        self.draws = fixed_draws(self.batch, MASK_TOKEN_ID)
        self.fast = Objectives(self.model, ObjectiveConfig(), MASK_TOKEN_ID)
        self.sides = {
            "reference": ReferenceObjectives(self.model, ObjectiveConfig(), MASK_TOKEN_ID),
            "fast": self.fast,
        }
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)

    @property
    def pairs(self) -> int:
        return self.what.images * self.what.phrases_per_image

    def losses(self) -> dict[str, dict[str, float]]:
        """Every loss of both sides on the same draws, without dropout."""
        values: dict[str, dict[str, float]] = {}
        for side in self.sides:
            with _without_dropout(self.model), _matmul(side):
                values[side] = {k: v.item() for k, v in self.forward(side, self.draws).items()}
        return {
            name: {"reference": plain, "fast": (fast := values["fast"][name]), "deviation": abs(fast - plain)}
            for name, plain in values["reference"].items()
        }

    def forward(self, side: str, draws: Draws | None = None) -> dict[str, Tensor]:
        with autocast(self.device, self.what.precision if side == "fast" else "fp32"):
            return self.sides[side](self.batch, ALPHA, draws)

    def step(self, side: str) -> None:
        """Forward, backward, optimiser and queues, each as this side does them."""
        with _matmul(side):
            self.optimizer.zero_grad()
            # Ours draws on the host, so that nothing waits for a GPU.
            draws = self.fast.prepare(self.loaded).to(self.device) if side == "fast" else None
            self.forward(side, draws)["total"].backward()
            for group in self.optimizer.param_groups:
                # A GPU's step counters lie on it, as the fused kernel wants them; `capturable` reads them there.
                plain = side != "fast"
                group |= {"fused": not plain, "foreach": False, "capturable": plain and self.on_gpu}
            self.optimizer.step()
        self.sides[side].update_queues()

    def memory(self) -> dict[str, Any]:
        """Memory that a forward keeps for its backward pass, a sample."""
        kept_mib = dict[str, float]()
        for side in self.sides:
            with kept_for_backward(self.model) as kept, _matmul(side):
                self.forward(side)
            kept_mib[side] = sum(kept.values()) / MIB / self.pairs
        ratio = kept_mib["fast"] / kept_mib["reference"]
        return {"activation_mib_per_sample": kept_mib, "activation_ratio": ratio}

    def times(self, report: Callable[[int, int], None]) -> dict[str, Any]:
        """Both sides in turn; medians, and the median of the ratios of neighbours."""
        laps: dict[str, list[Lap]] = {side: [] for side in self.sides}
        for done in range(self.what.repeats + 1):
            for side, its in laps.items():
                its.append(timed(lambda side=side: self.step(side), self.device))
            if not all(weight.isfinite().all() for weight in self.model.parameters()):
                raise InputError(
                    f"bench train: weights are not finite after {done + 1} steps of each, so that no time counts; "
                    "leave out --compile or --precision bf16 to find whose fault it is"
                )
            report(done, self.what.repeats)
        # The first of each warms up: memory, kernels, compilation.
        laps = {side: its[1:] for side, its in laps.items()}
        pairs = list(zip(laps["reference"], laps["fast"], strict=True))
        seconds = {side: median(lap.device_s for lap in its) for side, its in laps.items()}
        peaks = {side: its[-1].peak_mib for side, its in laps.items()}
        return {
            "clock": "device events" if self.on_gpu else "process CPU time",
            "seconds": seconds,
            "wall_seconds": {side: median(lap.wall_s for lap in its) for side, its in laps.items()},
            "laps": {side: [lap.device_s for lap in its] for side, its in laps.items()},
            "ratio": median(slow.device_s / fast.device_s for slow, fast in pairs),
            "wall_ratio": median(slow.wall_s / fast.wall_s for slow, fast in pairs),
            "triplets_per_s": {side: self.pairs / s for side, s in seconds.items()},
            "peak_memory_mib": None if None in peaks.values() else peaks,
        }

    def flops(self) -> int:
        """Operations of the matrix products of a step of the fast path, without those that checkpointing repeats."""
        self.model.checkpoint_activations(False)
        with FlopCounterMode(display=False) as counter, _matmul("fast"):
            self.forward("fast")["total"].backward()
        self.model.checkpoint_activations(self.what.checkpointing)
        self.optimizer.zero_grad()
        return counter.get_total_flops()

    def floor(self, flops: int, seconds: float) -> dict[str, Any]:
        """How much of a step its matrix products alone would take at the best rate measured here."""
        dtype = torch.bfloat16 if self.what.precision == "bf16" else torch.float32
        with _matmul("fast"):
            rate = matmul_rate(self.device, dtype)
        peak = datasheet_flops(self.device)
        return {
            "gflop": flops / 1e9,
            "matmul_gflop_per_s": rate / 1e9,
            "matmul_floor_share": flops / rate / seconds,
            "model_flop_utilisation": None if peak is None else flops / peak / seconds,
        }


def _matmul(side: str) -> AbstractContextManager[None]:
    """What this side multiplies with."""
    return fast_cpu_matmul() if side == "fast" else nullcontext()


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    shares = [layer.p for layer in layers]
    for layer in layers:
        layer.p = 0.0
    yield
    for layer, share in zip(layers, shares, strict=True):
        layer.p = share
