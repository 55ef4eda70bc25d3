"""The memory that a plan states, beside what autograd really keeps."""

import pytest
import torch

from amc_models.albef import Albef
from amc_models.benchmarks.train import TrainBenchmark, _Bench
from amc_platform.search.memory import gib_of, memory_of
from amc_platform.spec import Experiment


def experiment(images: int = 4, phrases: int = 4, preset: str = "small", **sections: object) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "test/memory",
            "model": {"preset": preset},
            "data": {
                "table": "t.parquet",
                "images_per_batch": images,
                "phrases_per_image": phrases,
                "max_tokens": 20,
            },
            "training": {"steps": 1, "lr": 1e-3, "lr_min": 0.0, "warmup_steps": 0},
            **sections,
        }
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_those_of_a_real_step(checkpointing: bool) -> None:
    bench = _Bench(TrainBenchmark("small", 4, 4, checkpointing=checkpointing, length=20))
    real = bench.memory()["activation_mib_per_sample"]["fast"] * 4 * 4 * 2**20
    training = {**experiment().training.model_dump(), "activation_checkpointing": checkpointing}
    counted = memory_of(experiment(training=training)).activations
    assert real <= counted <= 1.15 * real


def test_the_papers_network_has_its_published_number_of_weights() -> None:
    memory = memory_of(experiment(8, 1, "base", cluster={"workers": 8}))
    assert memory.trainable == pytest.approx(209.94e6, rel=1e-4)
    # Weights, gradient, two moments and DDP's buckets.
    assert memory.weights + memory.optimiser > 5 * 4 * memory.trainable


def test_a_worker_holds_its_share_of_the_images_and_an_evaluation_weights_only() -> None:
    alone, shared = memory_of(experiment(8)), memory_of(experiment(8, cluster={"workers": 2}))
    assert shared.activations == pytest.approx(alone.activations / 2)
    none = {**experiment().training.model_dump(), "steps": 0}
    evaluated = memory_of(experiment(training=none))
    assert (evaluated.activations, evaluated.optimiser) == (0, 0)
    assert gib_of(experiment(training=none)) == evaluated.weights / 2**30 < gib_of(experiment())


def test_where_a_step_may_be_skipped_the_averages_are_kept_twice() -> None:
    skipping = {**experiment().training.model_dump(), "on_nan": "skip"}
    more = memory_of(experiment(training=skipping)).weights - memory_of(experiment()).weights
    with torch.device("meta"):
        model = Albef(experiment().model)
    assert more == 4 * sum(p.numel() for name, p in model.named_parameters() if "_m." in name)
