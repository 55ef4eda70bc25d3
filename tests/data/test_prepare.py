from pathlib import Path
from typing import Any

import pytest

from amc_models.errors import InputError
from amc_platform.data.prepare import prepare, prepare_scenes
from amc_platform.data.table import TableInfo, read_info, read_rows
from amc_platform.spec.sources import ScenesSource

SIZES: dict[str, Any] = {"train": 210, "val": 120, "test": 120, "unseen": 200}


def wish(seed: int = 2) -> ScenesSource:
    return ScenesSource(source="scenes", train=0, val=0, test=3, unseen=0, image_size=48, seed=seed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TableInfo, list[tuple[int, int]]]:
    path = tmp_path_factory.mktemp("scenes") / "scenes.parquet"
    calls: list[tuple[int, int]] = []
    info = prepare_scenes(path, **SIZES, workers=1, progress=lambda done, total: calls.append((done, total)))
    return path, info, calls


def test_two_processes_make_the_same_bytes_as_one(
    made: tuple[Path, TableInfo, list[tuple[int, int]]], tmp_path: Path
) -> None:
    info = prepare_scenes(tmp_path / "two.parquet", **SIZES, workers=2)
    assert info == made[1]
    assert (tmp_path / "two.parquet").read_bytes() == made[0].read_bytes()


def test_progress_counts_up_to_all_images(made: tuple[Path, TableInfo, list[tuple[int, int]]]) -> None:
    assert made[2] == [(200, 650), (210, 650), (330, 650), (450, 650), (650, 650)]


def test_the_table_holds_what_was_asked_for(made: tuple[Path, TableInfo, list[tuple[int, int]]]) -> None:
    path, info, _ = made
    assert read_info(path) == info
    assert {split: at["images"] for split, at in info.counts["splits"].items()} == SIZES
    assert {"source": "scenes", "seed": 0, "image_size": 64, **SIZES}.items() <= info.source.items()
    rows = read_rows(path, splits=["unseen"])
    assert [row.image_id for row in rows] == [f"unseen-{i:06d}" for i in range(200)]


def test_without_reading_the_phrase_hard_ones_are_missed(
    made: tuple[Path, TableInfo, list[tuple[int, int]]],
) -> None:
    baselines = made[1].baselines
    assert set(baselines) == set(SIZES)
    for split, groups in baselines.items():
        assert {"hard", "hard/attribute", "hard/spatial", "hard/region"} <= set(groups)
        assert ("category" in groups) == (split != "unseen")
        for group, scores in groups.items():
            if group.startswith("hard"):
                assert all(score <= 50 for name, score in scores.items() if name != "n"), (split, group)
        at = made[1].counts["splits"][split]
        assert {kind: groups[kind]["n"] for kind in at["kinds"]} == at["kinds"]
        assert (
            groups["hard"]["n"]
            == at["hard"]
            == sum(scores["n"] for group, scores in groups.items() if group.startswith("hard/"))
        )


def test_another_seed_makes_another_table(tmp_path: Path) -> None:
    hashes = {prepare(wish(seed), tmp_path / "t.parquet").content_hash for seed in (2, 3)}
    assert len(hashes) == 2


def test_prepare_reads_the_fields_of_a_spec(tmp_path: Path) -> None:
    prepare(wish(), tmp_path / "t.parquet", workers=1)
    assert [(row.image_id, row.width) for row in read_rows(tmp_path / "t.parquet")] == [
        (f"test-{i:06d}", 48) for i in range(3)
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": -1}, "data.prepare.train: -1 images"),
        ({"test": 0}, "the source gave no images"),
        ({"image_size": 16}, "data.prepare.image_size: 16 pixels"),
    ],
)
def test_wrong_wishes_are_one_line_and_leave_nothing(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    wanted: dict[str, Any] = {"train": 0, "val": 0, "test": 1, "unseen": 0, **changed}
    with pytest.raises(InputError, match=message) as caught:
        prepare_scenes(tmp_path / "t.parquet", **wanted)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
