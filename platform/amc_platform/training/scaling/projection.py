"""What more workers would give: arithmetic on what was measured, and on stated figures of machines not here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

WORKERS = (8, 16, 64, 256)
PAIRS_OF_PAPER = 512
PAIRS_EACH = 64
"""The paper's 512 pairs on eight GPUs."""
GOAL = 0.95


@dataclass(frozen=True)
class Cluster:
    """Nodes of A40s. Nothing of this was measured here."""

    peak_flop_per_s: float = 149.7e12
    """Dense bfloat16 products, of NVIDIA's data sheet."""
    utilisation: float = 0.175
    """Of that peak, while kernels run: what a profile of the bf16 step on an H200 gave (models/README.md)."""
    host_s: float = 0.224
    """What the host needs to launch the kernels of a step (same profile), whatever the batch."""
    gpus_per_node: int = 8
    node_bytes_per_s: float = 12e9
    """Ring of a node's GPUs over PCIe 4 x16, NVLink bridging no more than pairs of A40s."""
    network_gbit_per_s: float = 100.0
    """Of a node, shared by its GPUs."""
    network_share: float = 0.9
    """Of that, what arrives."""
    latency_s: float = 30e-6
    """Of one hop of a collective between nodes."""

    def bytes_per_s(self, workers: int) -> float:
        """At which a ring over all workers moves: that of its slowest link."""
        if workers <= self.gpus_per_node:
            return self.node_bytes_per_s
        return min(self.node_bytes_per_s, self.network_gbit_per_s / 8 * 1e9 * self.network_share)

    def delay_s(self, workers: int) -> float:
        """Of one collective of any size: there and back through a tree of the workers."""
        return 2 * math.ceil(math.log2(workers)) * self.latency_s


@dataclass(frozen=True)
class Step:
    """What a step of one worker is made of, as it was measured."""

    buckets: Sequence[tuple[float, int]]
    """Of the gradients in float32, in order: when each is ready, as a share of both passes, and its bytes."""
    flop_per_pair: float
    feature_bytes_per_pair: int

    @classmethod
    def of(cls, measured: dict[str, Any]) -> "Step":
        """From JSON."""
        buckets = [(float(share), int(size)) for share, size in measured["buckets"]]
        return cls(buckets, measured["flop_per_pair"], measured["feature_bytes_per_pair"])

    @property
    def gradient_bytes(self) -> int:
        """In float32."""
        return sum(size for _, size in self.buckets)


@dataclass(frozen=True)
class Projected:
    """A step on `workers` workers."""

    workers: int
    pairs: int
    """Of each worker."""
    kernels_s: float
    compute_s: float
    """Both passes: kernels, or the host where that is slower."""
    transfer_s: float
    """Of all that is sent, were it sent alone."""
    exposed_s: float
    """Of that, what comes after the passes."""

    @property
    def efficiency(self) -> float:
        """Of the step, what is not waiting for others."""
        return self.compute_s / (self.compute_s + self.exposed_s)

    @property
    def utilised(self) -> float:
        """Of the step, what the kernels need: the host counts as loss too."""
        return self.kernels_s / (self.compute_s + self.exposed_s)

    @property
    def hidden(self) -> float:
        """Of the transfer, what happens during the passes."""
        return 1.0 - self.exposed_s / self.transfer_s


CASES = {
    "as measured: kernels at 17.5 % of the peak, a host that needs 224 ms": Cluster(),
    "the goal of models/README.md: kernels at 50 %, a host that keeps nobody waiting": Cluster(
        utilisation=0.5, host_s=0.0
    ),
}
"""The faster a GPU computes, the harder is sending to hide."""


def project(
    step: Step, cluster: Cluster, workers: int, pairs: int, precision: Literal["fp32", "bf16"]
) -> Projected:
    """A step of `workers` workers with `pairs` pairs each.

    Buckets are sent one after the other, none before it is ready, each as a ring does it: 2(W - 1)/W of its bytes over
    every link. The features of the queues follow the passes, W - 1 shares to everyone.
    """
    kernels_s = step.flop_per_pair * pairs / (cluster.peak_flop_per_s * cluster.utilisation)
    compute_s = max(kernels_s, cluster.host_s)
    rate, delay_s = cluster.bytes_per_s(workers), cluster.delay_s(workers)
    width = {"fp32": 1.0, "bf16": 0.5}[precision]
    done_s = transfer_s = 0.0
    for share, size in step.buckets:
        takes_s = 2 * (workers - 1) / workers * size * width / rate + delay_s
        done_s = max(done_s, share * compute_s) + takes_s
        transfer_s += takes_s
    features_s = (workers - 1) * pairs * step.feature_bytes_per_pair / rate + 2 * delay_s
    exposed_s = max(0.0, done_s - compute_s) + features_s
    return Projected(workers, pairs, kernels_s, compute_s, transfer_s + features_s, exposed_s)


def table(step: Step, cluster: Cluster, *, shared: bool) -> list[list[str]]:
    """Efficiency by number of workers: of gradients in fp32 and bf16, over 25 and 100 Gb/s.

    `shared`: the paper's global batch over all workers, instead of as many pairs for each as in the paper.
    """
    rows: list[list[str]] = []
    for workers in WORKERS:
        pairs = PAIRS_OF_PAPER // workers if shared else PAIRS_EACH
        made = [
            project(step, replace(cluster, network_gbit_per_s=gbit), workers, pairs, precision)
            for gbit in (25.0, 100.0)
            for precision in ("fp32", "bf16")
        ]
        best = made[-1]
        rows.append(
            [
                str(workers),
                str(pairs),
                f"{1000 * best.kernels_s:.0f}",
                f"{1000 * best.compute_s:.0f}",
                *(f"{100 * one.efficiency:.1f}" for one in made),
                f"{100 * best.utilised:.1f}",
            ]
        )
    return rows


def _goal(step: Step) -> str:
    """What stands about the goal, 16 A40s on 100 Gb/s."""
    lines = [
        "| case | gradients | passes, ms | sending, ms | of that hidden | efficiency | goal 95 % |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    for case, cluster in CASES.items():
        for precision in precisions:
            one = project(step, cluster, 16, PAIRS_OF_PAPER // 16, precision)
            lines.append(
                f"| {case.partition(':')[0]} | {precision} | {1000 * one.compute_s:.0f} | {1000 * one.transfer_s:.0f} "
                f"| {100 * one.hidden:.0f} % | {100 * one.efficiency:.1f} % "
                f"| {'reached' if one.efficiency >= GOAL else 'missed'} |"
            )
    return "\n".join([f"16 A40s, 100 Gb/s, {PAIRS_OF_PAPER} pairs a step:", "", *lines])


COLUMNS = (
    "A40s",
    "pairs each",
    "kernels, ms",
    "passes, ms",
    "25 Gb/s fp32, %",
    "25 Gb/s bf16, %",
    "100 Gb/s fp32, %",
    "100 Gb/s bf16, %",
    "with the host, %",
)


def markdown(measured: dict[str, Any]) -> str:
    """The tables of infra/scaling.md, out of what was measured."""
    step, parts = Step.of(measured), list[str]()
    parts.append(_goal(step))
    for case, cluster in CASES.items():
        for shared in (True, False):
            what = (
                f"{PAIRS_OF_PAPER} pairs a step over all"
                if shared
                else f"{PAIRS_EACH} pairs a step for each A40"
            )
            lines = [
                f"{case[0].upper()}{case[1:]}; {what}:",
                "",
                "| " + " | ".join(COLUMNS) + " |",
                "|" + " ---: |" * len(COLUMNS),
                *("| " + " | ".join(row) + " |" for row in table(step, cluster, shared=shared)),
            ]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)
