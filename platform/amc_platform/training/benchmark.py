"""What a training step waits for its data: the small network, trained for a moment."""

import time
from pathlib import Path

from amc_models.objectives.total import Objectives
from amc_platform.data.table import read_info
from amc_platform.spec import Experiment
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.start import make_loader, mask_token_id, start_model
from amc_platform.training.step import Stepper

WARM_UP_STEPS = 3


def data_wait_share(table: Path, steps: int) -> float:
    """Part of the time of `steps` steps that was spent waiting for batches of `table`, after a few to warm up.

    The network is the preset `small`, in steps of 32 images with 4 phrases each, as in the scenes experiments; fewer
    where the table has less.
    """
    info = read_info(table)
    spec = Experiment.model_validate(
        {
            "name": "bench/data",
            "model": {"preset": "small"},
            "data": {
                "table": table,
                "splits": list(info.counts["splits"]),
                "images_per_batch": min(32, info.counts["images"]),
                "phrases_per_image": 4,
            },
            "training": {"steps": WARM_UP_STEPS + steps, "lr": 1e-3, "lr_min": 0.0, "warmup_steps": 0},
        }
    )
    group = WorkerGroup.current()
    model = start_model(spec)
    stepper = Stepper(
        Objectives(model, spec.objective, mask_token_id(model)), spec.training, group, spec.seed
    )
    loader = make_loader(spec, model, group)
    started = waited = 0.0
    for step, batch in enumerate(loader.batches(0, spec.training.steps)):
        if step == WARM_UP_STEPS:
            started, waited = time.perf_counter(), loader.waited_s
        # Until the losses are there the step is not over.
        stepper.step(batch, step)["total"].item()
    return (loader.waited_s - waited) / (time.perf_counter() - started)
