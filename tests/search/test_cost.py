"""Steps, device-hours and money of what is still to be run, and when they are refused."""

from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.search.cost import Cost, Speeds, check_budget, speed_key
from amc_platform.spec import Experiment
from amc_platform.tracking.records import Record


def experiment(**changes: object) -> Experiment:
    fields = {
        "name": "test/cost",
        "model": {"preset": "small"},
        "data": {"table": "t.parquet", "images_per_batch": 8, "phrases_per_image": 2},
        "training": {"steps": 900, "lr": 1e-3, "lr_min": 0.0, "warmup_steps": 0},
        "cluster": {"workers": 2},
    }
    return Experiment.model_validate({**fields, **changes})


def test_hours_are_pairs_by_speed_on_all_devices() -> None:
    spec = experiment(budget={"pairs_per_second": 4.0, "price_per_device_hour": 3.0})
    cost = Cost.of(spec, 0, {})
    # 900 steps of 16 pairs at 4 a second are an hour, of two cores.
    assert (cost.steps, cost.device_hours, cost.money(spec)) == (900, 2.0, 6.0)
    assert Cost.of(spec, 450, {}) == Cost(450, 1.0)
    assert Cost.of(spec, 900, {}) == Cost(0, 0.0)
    on_gpus = experiment(budget={"pairs_per_second": 4.0}, cluster={"workers": 4, "gpus_per_worker": 1})
    assert Cost.of(on_gpus, 0, {}).device_hours == 4.0


def test_a_stored_speed_counts_where_none_is_stated() -> None:
    spec = experiment()
    assert Cost.of(spec, 0, {speed_key(spec): 8.0}) == Cost(900, 1.0)
    assert Cost.of(spec, 0, {}) == Cost(900, None)
    assert Cost.total([Cost(1, 1.0), Cost(2, None)]) == Cost(3, None)
    assert Cost.total([Cost(1, 1.0), Cost(2, 0.5)]) == Cost(3, 1.5)


def test_trials_are_as_fast_as_others_of_the_same_shape() -> None:
    key = speed_key(experiment())
    amc = {"objective": {"amc": {"delta_1": 0.3}}}
    assert speed_key(experiment(seed=3, **amc)) == key
    assert speed_key(experiment(objective={"amc": {"variant": "none"}})) != key
    assert speed_key(experiment(model={"preset": "small", "text_layers": 6})) != key
    assert speed_key(experiment(cluster={"workers": 1})) != key
    data = {"table": "t.parquet", "images_per_batch": 8, "phrases_per_image": 2, "max_tokens": 9}
    assert speed_key(experiment(data=data)) != key


def test_a_finished_trial_counts_before_a_probe(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path)
    speeds.keep("a", 10.0)
    speeds.keep("b", 20.0)
    record = Record("i", "p", "done", "o", 0.0, speed=30.0, speed_key="b")
    write_text(tmp_path / "trials" / "i" / "ledger.json", record.text())
    write_text(tmp_path / "trials" / "j" / "ledger.json", "torn")
    assert speeds.known() == {"a": 10.0, "b": 30.0}
    assert speeds.trained() == {"b": 30.0}


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"device_hours": 1.5}, "budget.device_hours: 2 device-hours are wanted, 1.5 allowed"),
        ({"limit": 5.0, "price_per_device_hour": 3.0}, "budget.limit: it would cost 6.00, 5 is allowed"),
    ],
)
def test_more_than_the_budget_is_refused(budget: dict[str, float], message: str) -> None:
    spec = experiment(budget={"pairs_per_second": 4.0, **budget})
    with pytest.raises(InputError, match=message):
        check_budget(Cost.of(spec, 0, {}), spec)
    check_budget(Cost.of(spec, 500, {}), spec)


def test_a_budget_that_cannot_be_compared_is_refused() -> None:
    spec = experiment(budget={"device_hours": 1.0})
    with pytest.raises(InputError, match="amc plan --probe"):
        check_budget(Cost(900, None), spec)
    check_budget(Cost(0, 0.0), spec)
