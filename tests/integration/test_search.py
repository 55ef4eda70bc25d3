"""Searches on a real Ray: who is stopped, what Tune is told, and what is left afterwards."""

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from small_experiment import write_experiment

from amc_platform.reporting.collect import page_data
from amc_platform.search.driver import carry_out, ledger_of, ready_plan, recorded
from amc_platform.search.exchange import Exchange, Said
from amc_platform.search.ledger import read_mirror
from amc_platform.search.plan import Plan
from amc_platform.spec import ClusterSpec
from amc_platform.tracking.reader import history
from amc_platform.training.trial import TrialStatus
from amc_platform.training.worker import ray_session

pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,
    # Ray Data reads its own defaults, which it has deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

METRIC = "val/scenes/pointing"
STEPS = 100


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_session(ClusterSpec()):
        yield


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Four rows that start from weights which point, then four that start at random and point at chance."""
    # Steps so small that no weight moves: what a row scores is what it started with.
    pretrained = str(repository / "experiments" / "scenes" / "pretrained")
    good = [
        {"name": f"good {n}", "set": {"start_from": pretrained, "training.lr": n * 1e-12}}
        for n in range(1, 5)
    ]
    bad = [{"name": f"bad {n}", "set": {"training.lr": n * 1e-12}} for n in range(1, 5)]
    folder = tmp_path_factory.mktemp("search")
    return write_experiment(
        folder,
        "test/asha",
        model={"preset": "small"},
        data={
            "table": str(folder / "scenes.parquet"),
            "prepare": {"source": "scenes", "train": 24, "val": 24, "test": 4, "unseen": 0},
            "images_per_batch": 2,
        },
        objective={"itc": 0.0, "mlm": 0.0, "negatives": "uniform", "distillation": 0.0},
        training={
            "steps": STEPS,
            "lr": 1e-12,
            "lr_min": 0.0,
            "warmup_steps": 0,
            "log_every": 5,
            "checkpoint_every": 50,
        },
        evaluation={"every": 10, "gallery": 0, "keep_best": False},
        tracking={"kind": "none"},
        search={"list": [*good, *bad], "asha": {"metric": METRIC, "grace_period": 10}},
    )


def run(spec: Path) -> Plan:
    """What `amc run` does, in the Ray of this file."""
    plan = ready_plan(spec, (), fresh=False, progress=None)
    with recorded(plan) as follower, ledger_of(plan) as ledger:
        return carry_out(plan, ledger, follower, lambda line: None, lambda overview: None)


@pytest.fixture(scope="module")
def searched(spec: Path) -> Plan:
    return run(spec)


def test_asha_stops_the_half_that_is_behind(searched: Plan) -> None:
    states = {row.name: row.jobs[0].state for row in searched.rows}
    assert states == {
        f"{kind} {n}": "done" if kind == "good" else "stopped"
        for kind in ("good", "bad")
        for n in range(1, 5)
    }
    for row in searched.rows:
        job, status = row.jobs[0], TrialStatus.read(row.jobs[0].folder)
        assert status.steps == STEPS if job.done else 10 <= status.steps < STEPS
        # It returned by itself: said how far it came, and left neither states nor an order.
        assert not list(job.states.glob("*"))
        assert not job.order.exists()
        mirror = read_mirror(job.folder)
        assert mirror is not None
        assert mirror.state == job.state
    assert searched.pending == []


def test_the_report_names_those_that_were_stopped(searched: Plan) -> None:
    data = page_data(searched, {})
    assert [row.name for row in data.rows] == [f"good {n}" for n in range(1, 5)]
    steps = [TrialStatus.read(row.jobs[0].folder).steps for row in searched.rows[4:]]
    told = [f"bad {n} (seed 0), stopped after {of_row} steps" for n, of_row in enumerate(steps, start=1)]
    assert dict(data.facts)["left out"] == f"4 of 8 trials: {'; '.join(told)}"
    assert page_data(searched.finished, {}) == data


def _held_by_workers(resources: Mapping[str, float]) -> dict[str, float]:
    """Without the object store, in which some bytes of this process's own stay: no worker holds them."""
    return {name: amount for name, amount in resources.items() if name != "object_store_memory"}


def test_nothing_is_held_afterwards(searched: Plan) -> None:
    import ray

    assert searched.pending == []
    # Ray hears of a worker's end a moment later.
    deadline = time.monotonic() + 20
    while (free := _held_by_workers(ray.available_resources())) != (
        there := _held_by_workers(ray.cluster_resources())
    ):
        assert time.monotonic() < deadline, (free, there)
        time.sleep(0.2)
    assert not list(searched.folder.glob("crew-*"))
    groups = ray.util.placement_group_table()
    assert {group["state"] for group in groups.values()} <= {"REMOVED"}


def test_a_search_taken_up_again_is_told_the_final_scores(
    searched: Plan, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, list[Said]] = {}
    say = Exchange.say

    def overheard(self: Exchange, trial: str, number: int, words: Said) -> None:
        said.setdefault(trial, []).append(words)
        say(self, trial, number, words)

    monkeypatch.setattr(Exchange, "say", overheard)
    weights = [row.jobs[0].model / "model.safetensors" for row in searched.rows if row.jobs[0].done]
    before = [path.stat().st_mtime_ns for path in weights]
    # As after a kill that left the last of them unborn: the others are settled, Tune knows none of them.
    lost = searched.rows[3].jobs[0]
    shutil.rmtree(lost.folder)
    again = run(spec)
    assert again.pending == []
    assert [path.stat().st_mtime_ns for path in weights[:3]] == before[:3]
    assert TrialStatus.read(lost.folder).steps == STEPS
    finals = [words[-1] for words in said.values() if words[-1].end == "done"]
    for row in again.finished.rows:
        final = history(row.jobs[0].folder)[METRIC][-1]
        assert final.step == STEPS
        assert Said(final.value, STEPS, "done") in finals
        mirror = read_mirror(row.jobs[0].folder)
        assert mirror is not None
        assert mirror.metrics[METRIC] == final.value
