"""A store of many runs as trainings leave it, and how long the commands that look at it take."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from amc_models.errors import InputError
from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.table import read_rows
from amc_platform.evaluation.gallery import Shot, gallery_rows, write_gallery
from amc_platform.evaluation.hits import Hit, write_hits
from amc_platform.files import write_json, write_text
from amc_platform.search.driver import run_of
from amc_platform.search.plan import Plan, make_plan
from amc_platform.spec import dump_experiment, identity, to_mapping
from amc_platform.tracking import Clock, Destination, Journal, ParentRun, following
from amc_platform.training.trial import TrialJob, TrialStatus

_REPORTED = """
name: bench/reported
model: {{preset: small}}
data: {{table: {folder}/scenes.parquet, images_per_batch: 32, phrases_per_image: 4}}
training: {{steps: 600, lr: 1.0e-3, lr_min: 0.0, warmup_steps: 30}}
output: {folder}/runs
search:
  seeds: [0, 1, 2]
  list:
    - {{name: control, set: {{objective.amc.variant: none}}}}
    - {{name: mean, set: {{objective.amc.lambda_2: 0.0}}}}
    - {{name: amc}}
"""
_SWEEP = """
extends: reported.yaml
name: bench/sweep
search:
  seeds: {seeds}
  list: [{{name: swept}}]
"""
_LOSSES = ("total", "itc", "itm", "mlm", "amc")


@dataclass(frozen=True)
class Store:
    """An output folder with its MLflow database, and the experiment of nine runs in it that is reported."""

    output: Path
    reported: Path
    runs: int


def make_store(folder: Path, runs: int, images: int) -> Store:
    """Nine runs with hits on `images` images, and a sweep of the others; losses, parameters and MLflow for all."""
    prepare_scenes(folder / "scenes.parquet", train=40, val=2, test=images, unseen=2)
    reported, sweep = folder / "reported.yaml", folder / "sweep.yaml"
    write_text(reported, _REPORTED.format(folder=folder))
    write_text(sweep, _SWEEP.format(seeds=list(range(runs - 9))))
    for spec in (reported, sweep):
        plan = make_plan(spec)
        hits, shots = _evaluated(plan) if spec is reported else ([], [])
        for number, job in enumerate(plan.jobs):
            _trained(job, random.Random(number))
            if hits:
                write_hits(job.evaluation("test") / "hits.parquet", hits, job.protocol)
                write_gallery(job.evaluation("test") / "gallery", shots)
        _record(plan)
    return Store(folder / "runs", reported, runs)


def seconds(arguments: Sequence[str], scratch: Path, times: int = 3) -> float:
    """Median time of the command `amc` with `arguments`, from its start to its end, once it has been run before.

    Python keeps what it has compiled in `scratch`, even where it was told to keep nothing.
    """
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(scratch)}
    taken: list[float] = []
    for _ in range(1 + times):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", "from amc_platform.cli.main import main; main()", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | kept,
        )
        taken.append(time.perf_counter() - began)
        if done.returncode != 0:
            raise InputError(f"amc {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return median(taken[1:])


def _evaluated(plan: Plan) -> tuple[list[Hit], list[Shot]]:
    rows, chance = read_rows(plan.experiment.data.table, splits={"test"}), random.Random(0)
    hits = [
        Hit(
            image_id=row.image_id,
            phrase_index=index,
            text=phrase.text,
            kind=phrase.kind,
            category=phrase.category,
            split=phrase.split,
            hard=phrase.hard,
            boxes=phrase.boxes,
            size=(row.width, row.height),
            point=(1.0, 1.0),
            hit=chance.random() < 0.6,
            score=1.0,
        )
        for row in rows
        for index, phrase in enumerate(row.phrases)
    ]
    pictures = gallery_rows(rows, plan.experiment.evaluation.gallery)
    shots = [
        Shot(hit, row.image, np.eye(8, dtype=np.float32)) for hit, row in zip(hits, pictures, strict=False)
    ]
    return hits, shots


def _trained(job: TrialJob, chance: random.Random) -> None:
    steps = job.experiment.training.steps
    write_text(job.folder / "spec.yaml", dump_experiment(job.experiment))
    write_json(job.model / "config.json", {})
    TrialStatus("finished", steps, 60.0, ((0, 1),)).write(job.folder)
    with Journal(job.folder) as journal:
        for step in range(20, steps + 1, 20):
            journal.metrics(step, {f"train/loss_{name}": chance.random() for name in _LOSSES})
        journal.metrics(steps, {"test/scenes/pointing": 100 * chance.random()})
        journal.status("FINISHED")


def _record(plan: Plan) -> None:
    experiment = plan.experiment
    # Never the server that the environment may name.
    database = f"sqlite:///{experiment.output}/mlflow.db"
    destination = Destination("mlflow", database, f"amc/{experiment.name}")
    parent = ParentRun(experiment.name, dump_experiment(experiment), identity(to_mapping(experiment)))
    with following(experiment.output, destination, parent, Clock(poll_s=0.1, close_s=3600)) as follower:
        for job in plan.jobs:
            follower.follow(run_of(job, plan))
    if warnings := follower.close():
        raise InputError(warnings[0])
