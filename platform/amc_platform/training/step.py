"""One optimisation step."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from amc_models.batch import Batch, Draws
from amc_models.objectives.survey import draw, survey
from amc_models.objectives.total import Objectives
from amc_models.objectives.whole import Share
from amc_models.precision import autocast, fast_cpu_matmul, tensor_float_32
from amc_platform.spec import TrainingSpec
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.optimizer import learning_rate, make_optimizer

EVERY_SHARE = 4_095
"""In the place of a micro-batch's number: draws that all of them share."""


@dataclass
class Stepper:
    """Network, objectives and optimiser of one training."""

    objectives: Objectives
    spec: TrainingSpec
    group: WorkerGroup
    seed: int
    gradient_precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        model = self.objectives.to(self.group.device).train().model
        model.checkpoint_activations(self.spec.activation_checkpointing)
        if self.spec.compile_image_encoder:
            model.compile_image_encoder()
        self.optimizer = make_optimizer(model, self.spec.lr, self.spec.weight_decay)
        self.rate = 0.0
        self.finite = torch.ones((), dtype=torch.bool, device=self.group.device)
        """Whether the gradients of the last step were finite."""
        self._trainable = [p for p in self.objectives.parameters() if p.requires_grad]
        self._averages: list[Tensor] = [p for of, _ in model.momentum_pairs for p in of.parameters()]
        # A move of the averages cannot be undone: where training goes on after a skipped step, a copy is kept.
        self._found = [torch.empty_like(p) for p in self._averages] if self.spec.on_nan == "skip" else []
        config = self.objectives.config
        everything = min(config.itc, config.itm, config.mlm) > 0
        self._wrapped: nn.Module = self.group.wrap(
            self.objectives, all_parameters_used=everything, gradient_precision=self.gradient_precision
        )

    @fast_cpu_matmul()
    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Train on `batch` as step number `step` (from 0); the losses of this rank, detached.

        All random numbers of the step follow from seed, step and micro-batch, so that a continued run draws the same.
        A step whose gradients are not finite changes no weight and no queue (`finite` says so, on the device: nothing
        waits for it). The moving averages move before the losses are known: they are put back, where training goes on.
        """
        self.rate = self._set_learning_rate(step)
        self._keep_averages()
        with tensor_float_32(self.spec.tf32):
            losses = self._gradients(batch, step)
        # Averaged over the ranks, so that a fault on one is seen by all.
        norm = nn.utils.get_total_norm([p.grad for p in self._trainable if p.grad is not None])
        self.finite = norm.isfinite()
        if self.spec.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._trainable, self.spec.clip_norm, norm)
        # The fused optimiser leaves everything as it is where this is 1, its own count of steps included.
        self.optimizer.found_inf = (~self.finite).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.optimizer.step()
        self.objectives.update_queues(self.finite)
        self._put_averages_back()
        return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}

    def _gradients(self, batch: Batch, step: int) -> list[dict[str, Tensor]]:
        """The gradient of the step; the losses of each micro-batch."""
        whole_batch = self.objectives.config.batch == "global"
        parts = batch.parts(self.spec.accumulation, all_candidates=whole_batch)
        self.optimizer.zero_grad(set_to_none=True)
        if whole_batch:
            return self._gradients_of_whole(parts, step)
        losses: list[dict[str, Tensor]] = []
        for number, part in enumerate(parts):
            self._reseed(step, self._first_share + number)
            draws = self.objectives.prepare(part).to(self.group.device)
            losses.append(self._backward(part.to(self.group.device), draws, number, step))
        return losses

    def _gradients_of_whole(self, parts: Sequence[Batch], step: int) -> list[dict[str, Tensor]]:
        """The same with losses over the global batch."""
        device, shares = self.group.device, self.group.size * self.spec.accumulation
        generator = torch.Generator().manual_seed(_mix(self.seed, step, EVERY_SHARE))
        drawn = draw(self.objectives, parts, self._first_share, shares, generator).to(device)
        parts = [part.to(device) for part in parts]
        with autocast(device, self.spec.precision):
            whole = survey(
                self.objectives,
                parts,
                drawn,
                self._first_share,
                self.distillation(step),
                lambda share: self._reseed(step, share),
            )
        losses: list[dict[str, Tensor]] = []
        for number, (part, draws) in enumerate(zip(parts, drawn.draws, strict=True)):
            share = self._first_share + number
            self._reseed(step, share)
            losses.append(self._backward(part, draws, number, step, Share(whole, share)))
        return losses

    def _backward(
        self, part: Batch, draws: Draws, number: int, step: int, share: Share | None = None
    ) -> dict[str, Tensor]:
        """Add the gradient of micro-batch `number`; its losses, detached. The last one averages over workers."""
        last = number == self.spec.accumulation - 1
        ddp = self._wrapped if isinstance(self._wrapped, nn.parallel.DistributedDataParallel) else None
        with nullcontext() if ddp is None or last else ddp.no_sync():
            with autocast(self.group.device, self.spec.precision):
                losses: dict[str, Tensor] = self._wrapped(
                    part, self.distillation(step), draws, share=share, first=number == 0
                )
            (losses["total"] / self.spec.accumulation).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def _keep_averages(self) -> None:
        if self._found:
            torch._foreach_copy_(self._found, self._averages)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    @torch.no_grad()
    def _put_averages_back(self) -> None:
        """Unless the step counts: then they are copied onto themselves, since nothing may wait for the answer."""
        if self._found:
            for average, found in zip(self._averages, self._found, strict=True):
                average.copy_(torch.where(self.finite, average, found))

    @property
    def _first_share(self) -> int:
        return self.group.rank * self.spec.accumulation

    def _reseed(self, step: int, share: int) -> None:
        torch.manual_seed(_mix(self.seed, step, share))

    def _set_learning_rate(self, step: int) -> float:
        rate = learning_rate(step, self.spec)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        return rate

    def distillation(self, step: int) -> float:
        """Weight of the soft targets: rises linearly over its warm-up."""
        config = self.objectives.config
        return config.distillation * min(1.0, (step + 1) / max(1, config.distillation_warmup_steps))


def _mix(seed: int, step: int, share: int) -> int:
    """One seed out of three numbers, different for neighbours."""
    return (seed * 1_000_003 + step) * 4_096 + share
