"""What the trials that are still to be run will take: steps, device-hours, money; and whether the budget allows it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.spec import Experiment, identity, to_mapping
from amc_platform.tracking.events import Point
from amc_platform.tracking.records import Record

_SPEED = "train/pairs_per_second"


def speed_key(experiment: Experiment) -> str:
    """Equal for trials that are equally fast: same network, losses, batch and workers, whatever their numbers.

    Where no `cluster.accelerator_type` is named, the kind of device is not known before it is there: a stored speed is
    that of the machines that measured it.
    """
    spec = to_mapping(experiment)
    weights = {name: bool(spec["objective"][name]) for name in ("itc", "itm", "mlm", "distillation")}
    training = {name: value for name, value in spec["training"].items() if isinstance(value, str | bool)}
    if not training["tf32"]:
        # Speeds that were kept before there was this field are found still.
        del training["tf32"]
    device = spec["cluster"]["accelerator_type"]
    return identity(
        {
            "model": {name: v for name, v in spec["model"].items() if name not in ("preset", "dropout")},
            "objective": {**weights, "amc": spec["objective"]["amc"]["variant"]},
            "training": {name: value for name, value in training.items() if name != "schedule"},
            "batch": [spec["data"][name] for name in ("images_per_batch", "phrases_per_image", "max_tokens")],
            "workers": [spec["cluster"][name] for name in ("workers", "cpus_per_worker", "gpus_per_worker")],
            **({"device": device} if device else {}),
        }
    )


def speed_of(points: Mapping[str, Sequence[Point]]) -> float:
    """Mean pairs a second of a trial's records, its first (warm-up) left out; 0 where there are too few."""
    later = [point.value for point in points.get(_SPEED, ())][1:]
    return fmean(later) if later else 0.0


class Speeds:
    """Measured speeds of an output folder, in pairs a second: of finished trials, and of probes."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def known(self) -> dict[str, float]:
        """Speed by key. A finished trial, which trained longer, counts before a probe."""
        return {**self._read("probes/*.json"), **self.trained()}

    def trained(self) -> dict[str, float]:
        """Speed by key, of finished trials only."""
        return self._read("trials/*/ledger.json")

    def _read(self, pattern: str) -> dict[str, float]:
        speeds: dict[str, float] = {}
        for path in self._output.glob(pattern):
            try:
                record = Record.of(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if record.speed and record.state == "done":
                speeds[record.speed_key] = record.speed
        return speeds

    def keep(self, key: str, speed: float) -> None:
        """Keep what a probe measured."""
        record = Record("", "", "done", "", 0.0, speed=speed, speed_key=key)
        write_text(self._output / "probes" / f"{key}.json", record.text())


@dataclass(frozen=True)
class Cost:
    """Of one trial, or of several."""

    steps: int
    device_hours: float | None
    """None where no speed is known."""

    @classmethod
    def of(cls, experiment: Experiment, done: int, speeds: Mapping[str, float]) -> "Cost":
        """Of training `experiment` from step `done` on; evaluation is not counted."""
        steps = max(0, experiment.training.steps - done)
        if steps == 0:
            return cls(0, 0.0)
        speed = experiment.budget.pairs_per_second or speeds.get(speed_key(experiment))
        if not speed:
            return cls(steps, None)
        pairs = steps * experiment.data.images_per_batch * experiment.data.phrases_per_image
        return cls(steps, pairs / speed / 3600 * devices(experiment))

    @classmethod
    def total(cls, costs: Iterable["Cost"]) -> "Cost":
        """Of all together; unknown where one is."""
        parts = list(costs)
        hours = [cost.device_hours for cost in parts if cost.device_hours is not None]
        return cls(sum(cost.steps for cost in parts), sum(hours) if len(hours) == len(parts) else None)

    def money(self, experiment: Experiment) -> float | None:
        """At the price that the budget names."""
        price = experiment.budget.price_per_device_hour
        return None if price is None or self.device_hours is None else price * self.device_hours


def devices(experiment: Experiment) -> float:
    """Devices that a trial holds: its GPUs, or without any the CPU cores."""
    cluster = experiment.cluster
    return cluster.most * (cluster.gpus_per_worker or cluster.cpus_per_worker)


def check_budget(cost: Cost, experiment: Experiment) -> None:
    """Raises InputError where `cost` is above the budget, or cannot be compared with it."""
    budget = experiment.budget
    if cost.steps == 0 or (budget.device_hours is None and budget.limit is None):
        return
    if cost.device_hours is None:
        raise InputError(
            "budget: how fast a trial trains is not known; measure it by `amc plan --probe`, "
            "or set budget.pairs_per_second"
        )
    if budget.device_hours is not None and cost.device_hours > budget.device_hours:
        raise InputError(
            f"budget.device_hours: {cost.device_hours:.3g} device-hours are wanted, {budget.device_hours:g} allowed; "
            "raise it, or train fewer trials or steps"
        )
    money = cost.money(experiment)
    if budget.limit is not None and money is not None and money > budget.limit:
        raise InputError(
            f"budget.limit: it would cost {money:.2f}, {budget.limit:g} is allowed; "
            "raise it, or train fewer trials or steps"
        )
