from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from small_experiment import write_experiment

from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.table import read_rows
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.protocol import Protocol
from amc_platform.search.plan import make_plan
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.evaluating import _hits
from amc_platform.training.start import start_model


@dataclass(frozen=True)
class Rank(WorkerGroup):
    """One rank of a group whose others are not there: it gathers its own."""

    def gather(self, value: Any) -> list[Any]:
        return [value]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_group_of_workers_finds_the_same_hits_as_one(tmp_path: Path, size: int) -> None:
    table = tmp_path / "scenes.parquet"
    prepare_scenes(table, train=24, val=2, test=37, unseen=2, workers=1)
    (job,) = make_plan(write_experiment(tmp_path)).jobs
    model = start_model(job.experiment).eval()
    rows = read_rows(table, splits={"test"})

    def hits(rank: int, of: int) -> list[Hit]:
        return _hits(job, model, rows, Rank(rank, of, torch.device("cpu")))

    # Equal to the last bit: points, and scores as the floats they are.
    assert [hit for rank in range(size) for hit in hits(rank, size)] == hits(0, 1)


def test_a_protocol_of_ones_own_decides_the_resolution(tmp_path: Path) -> None:
    table, own = tmp_path / "scenes.parquet", tmp_path / "large.yaml"
    prepare_scenes(table, train=24, val=2, test=3, unseen=2, workers=1)
    own.write_text("resolution: 128\n")
    named, of_file = (
        make_plan(write_experiment(tmp_path), [f"evaluation.protocol={protocol}"]).jobs[0]
        for protocol in ("scenes", own)
    )
    assert of_file.protocol == Protocol(name="large", resolution=128)
    assert of_file.identity == named.identity
    assert of_file.evaluation("test") != named.evaluation("test")
    model, rows = start_model(of_file.experiment).eval(), read_rows(table, splits={"test"})
    alone = Rank(0, 1, torch.device("cpu"))
    assert _hits(of_file, model, rows, alone) != _hits(named, model, rows, alone)
    assert model.config.image_size == 64
