"""Grids, draws, conditions and stopping, as a spec writes them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_files import BASE, Write

from amc_models.errors import InputError
from amc_platform.spec import Dimension, dump_experiment, expand_trials, load_experiment
from amc_platform.spec.factors import active, row_name

MARGINS = """\
search:
  grid:
    objective.amc.delta_1: [0.1, 0.2]
    objective.amc.delta_2: [0.4, 0.5]
"""


def refused(write: Write, search: str) -> str:
    with pytest.raises(InputError) as error:
        load_experiment(write("a.yaml", BASE + search))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_grid_is_every_combination_with_every_seed(write: Write) -> None:
    trials = expand_trials(write("a.yaml", BASE + MARGINS + "  seeds: [3, 4]\n"))
    margins = [
        (t.experiment.objective.amc.delta_1, t.experiment.objective.amc.delta_2)  # type: ignore[union-attr]
        for t in trials
    ]
    assert margins[::2] == margins[1::2] == [(0.1, 0.4), (0.1, 0.5), (0.2, 0.4), (0.2, 0.5)]
    assert [t.seed for t in trials] == [3, 4] * 4
    assert trials[0].name == "delta_1=0.1, delta_2=0.4"
    # The experiment itself has delta_1 0.1 and delta_2 0.4.
    assert trials[0].changes == {}
    assert trials[6].changes == {"objective.amc.delta_1": 0.2, "objective.amc.delta_2": 0.5}


def test_a_field_is_varied_only_where_it_has_an_effect(write: Write) -> None:
    grid = """\
search:
  grid:
    objective.amc.variant: [amc, mean, cosine]
    objective: {amc: {delta_1: [0.1, 0.2]}}
  when:
    objective.amc.delta_1: {objective.amc.variant: [amc, mean]}
"""
    names = [trial.name for trial in expand_trials(write("a.yaml", BASE + grid))]
    assert names == [
        "variant=amc, delta_1=0.1",
        "variant=amc, delta_1=0.2",
        "variant=mean, delta_1=0.1",
        "variant=mean, delta_1=0.2",
        "variant=cosine",
    ]
    without = grid.split("  when")[0]
    assert "a.yaml:17: objective.amc.delta_1: not used by variant `cosine`" in refused(write, without)


def test_a_condition_may_rest_on_a_fixed_field_or_on_a_conditional_one() -> None:
    values = {"c": 1, "b": 2, "a": 3}
    chain = {"c": {"b": 2}, "b": {"a": [3, 4]}}
    assert active(values, chain, {}) == values
    assert active(values, {"c": {"b": 2}, "b": {"a": 5}}, {"b": 2}) == {"c": 1, "a": 3}
    assert active(values, {"c": {"x": True}}, {"x": True}) == values
    assert active(values, {"c": {"x": True}}, {"x": False}) == {"b": 2, "a": 3}
    with pytest.raises(InputError, match="c and b wait for each other"):
        active(values, {"c": {"b": 2}, "b": {"c": 1}}, {})


def test_draws_are_within_bounds_and_the_first_of_many_are_those_of_few(write: Write) -> None:
    space = """\
search:
  random:
    n: 40
    space:
      objective.amc.lambda_1: {uniform: [0.12341, 0.12349]}
      training.lr: {loguniform: [1.0e-5, 1.0e-3]}
      training.warmup_steps: {randint: [3, 5]}
      objective.amc.mean_hinge: {choice: [batch, sample]}
"""
    path = write("a.yaml", BASE + space)
    many, few = expand_trials(path), expand_trials(path, ["search.random.n=5"])
    assert [t.experiment for t in few] == [t.experiment for t in many[:5]]
    assert expand_trials(path, ["search.random.seed=1"])[0].experiment != few[0].experiment
    rates = [t.experiment.training.lr for t in many]
    assert len(set(rates)) == 40
    assert sum(rate < 1e-4 for rate in rates) == pytest.approx(20, abs=9)
    assert {t.experiment.training.warmup_steps for t in many} == {3, 4, 5}
    assert all(0.12341 <= t.experiment.objective.amc.lambda_1 <= 0.12349 for t in many)  # type: ignore[union-attr]
    assert all(float(f"{rate:.4g}") == rate for rate in rates)


def test_proposed_points_become_rows_and_their_bounds_are_checked_before(write: Write) -> None:
    search = """\
evaluation: {every: 10}
search:
  optuna:
    n: 4
    metric: val/scenes/pointing/hard
    space: {objective.amc.delta_1: {uniform: [LOW, 0.3]}}
"""
    path = write("a.yaml", BASE + search.replace("LOW", "0.0"))
    assert expand_trials(path) == []
    (trial,) = expand_trials(path, points=[{"objective.amc.delta_1": 0.25}])
    assert (trial.name, trial.changes) == ("delta_1=0.25", {"objective.amc.delta_1": 0.25})
    assert "a.yaml:19: objective.amc.delta_1: must be" in refused(write, search.replace("LOW", "-0.1"))


def test_a_resolved_search_is_read_back_the_same(write: Write) -> None:
    text = BASE + "search: {random: {n: 2, space: {training.lr: {loguniform: [1.0e-5, 1.0e-3]}}}}\n"
    experiment = load_experiment(write("a.yaml", text))
    assert load_experiment(write("b.yaml", dump_experiment(experiment))) == experiment


OPTUNA = "{n: 2, metric: %s, space: {training.lr: {uniform: [1.0e-5, 1.0e-3]}}}"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{grid: {training.rl: [1]}}", "training.rl: no such field; did you mean lr?"),
        ("{grid: {training.lr: []}}", "search.grid.training.lr: "),
        ("{grid: {seed: [1, 2]}}", "seed: a trial cannot change it; use search.seeds"),
        ("{grid: {training.lr: [1.0e-3]}, list: [{name: x}]}", "search.grid: search.list is there already"),
        ("{grid: {start_from: [a, b]}}", "search: start_from cannot be varied here"),
        ("{when: {training.lr: {seed: 1}}}", "search.when: training.lr is not varied"),
        ("{grid: {training.lr: [1.0e-3]}, when: {training.rl: {seed: 1}}}", "did you mean training.lr?"),
        (
            "{random: {n: 0, space: {training.lr: {uniform: [0, 1]}}}}",
            "search.random.n: must be greater than 0",
        ),
        ("{random: {n: 1, space: {training.lr: {unifrom: [0, 1]}}}}", "did you mean uniform?"),
        ("{random: {n: 1, space: {training.lr: {uniform: [1, 0]}}}}", "[low, high] with low below high"),
        ("{random: {n: 1, space: {training.lr: {loguniform: [0, 1]}}}}", "low must be above 0"),
        ("{random: {n: 1, space: {training.lr: 3}}}", "must be one of {uniform: [...]}, {loguniform"),
        ("{random: {n: 1, space: {}}}", "search.random.space: "),
        (f"{{optuna: {OPTUNA % 'val/x'}}}", "evaluation.every: missing; search.optuna looks at validations"),
        ("{asha: {metric: val/x}}", "search.asha.grace_period: missing"),
        ("{asha: {metric: val/x, grace_period: 0}}", "search.asha.grace_period: must be greater than 0"),
        (
            "{asha: {metric: val/x, grace_period: 1, reduction_factor: 1}}",
            "search.asha.reduction_factor: must be",
        ),
        ("{trials: [{name: x}]}", "search.trials: no such field"),
    ],
)
def test_a_wrong_search_is_one_line(write: Write, search: str, message: str) -> None:
    assert message in refused(write, f"search: {search}\n")


@pytest.mark.parametrize(
    ("evaluation", "metric", "message"),
    [
        (
            "{every: 5}",
            "test/scenes/pointing",
            "search.optuna.metric: test/scenes/pointing is no metric of the",
        ),
        ("{every: 5, validation_split: test}", "test/scenes/pointing", "would choose by 'test'"),
    ],
)
def test_a_search_never_looks_at_a_test_split(
    write: Write, evaluation: str, metric: str, message: str
) -> None:
    search = f"evaluation: {evaluation}\nsearch: {{optuna: {OPTUNA % metric}}}\n"
    assert message in refused(write, search)


def test_a_limit_in_money_needs_a_price(write: Write) -> None:
    assert "budget.price_per_device_hour: missing" in refused(write, "budget: {limit: 5.0}\n")


def test_names_are_as_short_as_the_fields_allow() -> None:
    values = {"objective.amc.weight": 1.0, "data.weight": 2, "training.lr": 1e-4}
    assert row_name(values, values) == "amc.weight=1, data.weight=2, lr=0.0001"


@given(st.integers(1, 60), st.integers(0, 2**16))
def test_a_drawn_number_never_leaves_its_bounds(n: int, seed: int) -> None:
    import random

    from amc_platform.spec.factors import drawn

    dimension = Dimension.model_validate({"loguniform": [n * 1.00001e-7, n * 1.00002e-7]})
    value = drawn(dimension, random.Random(seed))
    assert n * 1.00001e-7 <= value <= n * 1.00002e-7


def test_relative_paths_of_rows_are_beside_their_file(write: Write, tmp_path: Path) -> None:
    path = write("deep/a.yaml", BASE + "search: {list: [{name: x, set: {start_from: other}}]}\n")
    assert expand_trials(path)[0].experiment.start_from == tmp_path / "deep" / "other"
