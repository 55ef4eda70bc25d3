from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.table import read_rows
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.protocol import Protocol
from amc_platform.search.plan import make_plan
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.evaluating import Validation, _hits, evaluate_split
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


def test_another_table_is_another_evaluation_of_the_same_training(tmp_path: Path) -> None:
    own, other = tmp_path / "scenes.parquet", tmp_path / "other.parquet"
    prepare_scenes(own, train=24, val=6, test=8, unseen=0, workers=1)
    prepare_scenes(other, train=0, val=2, test=3, unseen=0, seed=7, workers=1)
    spec = write_experiment(tmp_path)
    (plain,) = make_plan(spec).jobs
    (elsewhere,) = make_plan(spec, [f"evaluation.table={other}"]).jobs
    (same,) = make_plan(spec, [f"evaluation.table={own}"]).jobs
    assert plain.identity == elsewhere.identity
    assert plain.evaluation("test") == same.evaluation("test") != elsewhere.evaluation("test")
    model, alone = start_model(plain.experiment).eval(), Rank(0, 1, torch.device("cpu"))
    for job, images in ((plain, 8), (elsewhere, 3)):
        evaluation = evaluate_split(job, model, "test", 0, alone)
        assert len(evaluation.rows) == images
        assert evaluation.folder == job.evaluation("test")
    rows = Validation(elsewhere, alone).run(model, 4).rows
    assert [row.image_id for row in rows] == [row.image_id for row in read_rows(other, splits={"val"})]


def test_early_stopping_by_another_table_is_another_training(tmp_path: Path) -> None:
    own, other = tmp_path / "scenes.parquet", tmp_path / "other.parquet"
    prepare_scenes(own, train=24, val=6, test=8, unseen=0, workers=1)
    prepare_scenes(other, train=0, val=2, test=3, unseen=0, seed=7, workers=1)
    stopping = ["training.early_stopping.patience=2"]
    jobs = [
        make_plan(write_experiment(tmp_path), [*stopping, *more]).jobs[0]
        for more in ([], [f"evaluation.table={own}"], [f"evaluation.table={other}"])
    ]
    assert jobs[0].identity == jobs[1].identity != jobs[2].identity


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    prepare_scenes(tmp_path / "scenes.parquet", train=24, val=6, test=8, unseen=0, workers=1)
    with pytest.raises(InputError, match=r"evaluation\.table: .*nowhere\.parquet is not there; make it with"):
        make_plan(write_experiment(tmp_path), [f"evaluation.table={tmp_path}/nowhere.parquet"])


def test_rows_on_tables_of_their_own_are_trainings_of_their_own(tmp_path: Path) -> None:
    prepare_scenes(tmp_path / "scenes.parquet", train=24, val=6, test=8, unseen=0, workers=1)
    prepare_scenes(tmp_path / "other.parquet", train=24, val=6, test=8, unseen=0, seed=7, workers=1)
    rows = [{"name": "own"}, {"name": "other", "set": {"data.table": str(tmp_path / "other.parquet")}}]
    assert len(make_plan(write_experiment(tmp_path, search={"list": rows})).jobs) == 2
