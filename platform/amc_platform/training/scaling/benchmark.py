"""All that is measured of training on several workers, in one run."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from amc_models.benchmarks.meters import hardware
from amc_platform.files import write_json
from amc_platform.spec import ClusterSpec
from amc_platform.training.scaling.loop import Sizes, Turn
from amc_platform.training.scaling.projection import Cluster
from amc_platform.training.scaling.turns import Group, processes, ray_workers
from amc_platform.training.worker import ray_session

RAY_GOAL = 1.02
CLOCKS = ("wall", "fastest", "cpu")
_WORKERS = 2


@dataclass(frozen=True)
class ScaleBenchmark:
    """`rounds` times, every group takes `steps` steps; in another order each time."""

    folder: Path
    sizes: Sizes
    rounds: int
    steps: int

    def run(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """Everything measured, ready for JSON. Starts a Ray of its own."""
        import torch

        write_json(self.folder / "sizes.json", asdict(self.sizes))
        with ExitStack() as stack:
            tell("starting two processes alone, two under torchrun, two under Ray Train")
            stack.enter_context(ray_session(ClusterSpec(workers=_WORKERS)))
            ray = stack.enter_context(ray_workers(self.folder, _WORKERS))
            bare = stack.enter_context(processes(self.folder, "torchrun", _WORKERS))
            alone = [stack.enter_context(processes(self.folder, f"alone-{n}", 1)) for n in range(_WORKERS)]
            for group in (ray, bare, *alone):
                group.begin(Turn("fp32"))
            for group in (ray, bare, *alone):
                group.end()
            rounds = [self._round(number, ray, bare, alone, tell) for number in range(self.rounds)]
            tell("counting what is sent")
            traffic = bare.take(Turn("traffic"))
            transfer = _mean(bare.take(Turn("transfer", self.steps)))
            tell(f"watching the gradients of the network `{self.sizes.profiled}`")
            profile = alone[0].take(Turn("profile"))[0]
        seconds = {name: _middle(one[name] for one in rounds) for name in rounds[0]}
        return {
            "hardware": hardware(torch.device("cpu")),
            "torch": torch.__version__,
            **asdict(self.sizes),
            "rounds": self.rounds,
            "steps": self.steps,
            "seconds": seconds,
            "efficiency": {
                # One worker has the machine to itself, two share what two cores share.
                "one_to_two": _ratios(rounds, "one", "two"),
                "one_to_apart": _ratios(rounds, "one", "apart"),
                "apart_to_two": _ratios(rounds, "apart", "two"),
                "apart_to_two_bf16": _ratios(rounds, "apart", "two_bf16"),
            },
            "ray_over_bare": _ratios(rounds, "ray", "two") | {"goal": RAY_GOAL},
            "transfer_s": transfer["fastest"],
            "exposed_s": seconds["two"]["fastest"] - seconds["apart"]["fastest"],
            "traffic": {
                precision: [of_rank[precision] for of_rank in traffic] for precision in ("fp32", "bf16")
            },
            "equal": all(one["counted"] == one["formula"] for of_rank in traffic for one in of_rank.values()),
            "profile": profile,
            "assumed": asdict(Cluster()),
        }

    def _round(
        self, number: int, ray: Group, bare: Group, alone: Sequence[Group], tell: Callable[[str], None]
    ) -> dict[str, dict[str, float]]:
        """Seconds a step of everyone, one after the other."""
        plain, rounded = Turn("fp32", self.steps), Turn("bf16", self.steps)

        def apart() -> list[dict[str, Any]]:
            for group in alone:
                group.begin(plain)
            return [found for group in alone for found in group.end()]

        turns: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "one": lambda: alone[0].take(plain),
            "apart": apart,
            "two": lambda: bare.take(plain),
            "ray": lambda: ray.take(plain),
            "two_bf16": lambda: bare.take(rounded),
        }
        names = list(turns)
        # Neighbours are compared: whoever comes first this time comes second the next.
        order = names if number % 2 == 0 else names[::-1]
        found = {name: _mean(turns[name]()) for name in order}
        tell(f"round {number + 1} of {self.rounds}: two workers {found['two']['wall']:.3f} s a step")
        return found


def _mean(of_ranks: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {clock: fmean(found[clock] for found in of_ranks) for clock in CLOCKS}


def _middle(seconds: Iterable[dict[str, float]]) -> dict[str, float]:
    """Medians over rounds; of the fastest step, the fastest of all."""
    found = list(seconds)
    return {clock: (min if clock == "fastest" else median)(one[clock] for one in found) for clock in CLOCKS}


def _ratios(rounds: Sequence[dict[str, dict[str, float]]], one: str, other: str) -> dict[str, float]:
    """Seconds of `one` by those of `other`: medians over the rounds' ratios; of the fastest, the ratio of both."""
    made = {clock: median(found[one][clock] / found[other][clock] for found in rounds) for clock in CLOCKS}
    fastest = [min(found[name]["fastest"] for found in rounds) for name in (one, other)]
    return made | {"fastest": fastest[0] / fastest[1]}
