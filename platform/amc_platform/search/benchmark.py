"""What a trial costs beside its training: worker groups kept for the whole search, and a `TorchTrainer.fit` a trial.

Both ways train the same tiny trials in the same Ray. A trial's overhead is the time it adds to the command without the
seconds that its training steps took: processes, imports, weights, evaluation, ledger.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from amc_models.benchmarks.meters import hardware
from amc_platform.files import write_text
from amc_platform.search.driver import carry_out, ledger_of, ready_plan, recorded
from amc_platform.search.plan import Plan, make_plan
from amc_platform.training.lane import Lane
from amc_platform.training.trial import TrialJob, TrialStatus
from amc_platform.training.worker import ray_session, work

GOAL_S = 15.0
_SPEC = """
name: bench/search
model:
  preset: small
  vision_width: 32
  vision_depth: 1
  text_width: 32
  text_feedforward: 64
  text_layers: 2
  gradcam_layer: 1
  queue_size: 64
data:
  table: {folder}/scenes.parquet
  prepare: {{source: scenes, train: 64, val: 0, test: 16, unseen: 0}}
  images_per_batch: 8
  phrases_per_image: 2
training: {{steps: 10, lr: 1.0e-3, lr_min: 0.0, warmup_steps: 2}}
evaluation: {{gallery: 0}}
tracking: {{kind: none}}
search: {{seeds: {seeds}, max_concurrent: 1}}
output: {folder}/{output}
"""


@dataclass(frozen=True)
class SearchBenchmark:
    """`trials` of our way, the first `naive` of them the naive way too."""

    folder: Path
    trials: int
    naive: int

    def run(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """Everything measured, ready for JSON; `equal` says whether both ways gave the same weights to the last bit."""
        import torch

        ours, naive = self._plan("ours", self.trials), self._plan("naive", self.naive)
        tell(f"{self.trials} trials in a worker group that is kept, {self.naive} with one group each")
        began = time.perf_counter()
        with ray_session(ours.experiment.cluster):
            ray_start_s = time.perf_counter() - began
            ours_s = _carried_out(ours, tell)
            naive_s = [_fitted(job, self.folder / f"lane-{job.seed}") for job in naive.jobs]
        overhead = {
            "ours": ours_s / self.trials - _training_s(ours.jobs),
            # What a trial adds once the group is there.
            "ours_later": _between(ours.jobs) - _training_s(ours.jobs[1:]),
            "naive": fmean(naive_s) - _training_s(naive.jobs),
        }
        return {
            "trials": {"ours": self.trials, "naive": self.naive},
            "training_s": {"ours": _training_s(ours.jobs), "naive": _training_s(naive.jobs)},
            "ray_start_s": ray_start_s,
            "overhead_s": overhead,
            "ratio": overhead["naive"] / overhead["ours"],
            "goal_s": GOAL_S,
            "equal": all(
                _weights(one) == _weights(other) for one, other in zip(ours.jobs, naive.jobs, strict=False)
            ),
            "hardware": hardware(torch.device("cpu")),
        }

    def _plan(self, output: str, trials: int) -> Plan:
        spec = self.folder / f"{output}.yaml"
        write_text(spec, _SPEC.format(folder=self.folder, output=output, seeds=list(range(trials))))
        return ready_plan(spec, [], fresh=False, progress=None)


def _carried_out(plan: Plan, tell: Callable[[str], None]) -> float:
    """Seconds of the plan as `amc run` carries it out."""
    began = time.perf_counter()
    with recorded(plan) as follower, ledger_of(plan) as ledger:
        carry_out(plan, ledger, follower, tell, lambda overview: None)
        follower.close()
    assert make_plan(plan.source).pending == []
    return time.perf_counter() - began


def _fitted(job: TrialJob, folder: Path) -> float:
    """Seconds of one trial in a worker group of its own."""
    began = time.perf_counter()
    lane = Lane(folder)
    lane.folder.mkdir()
    lane.submit(0, job)
    lane.close()
    work(lane, job.experiment.cluster)
    return time.perf_counter() - began


def _training_s(jobs: list[TrialJob]) -> float:
    """Mean seconds of the steps."""
    return fmean(TrialStatus.read(job.folder).train_seconds for job in jobs)


def _between(jobs: list[TrialJob]) -> float:
    """Mean seconds from the end of one trial to the end of the next."""
    ends = sorted((job.folder / "status.json").stat().st_mtime for job in jobs)
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def _weights(job: TrialJob) -> bytes:
    return (job.model / "model.safetensors").read_bytes()
