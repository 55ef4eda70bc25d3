from pathlib import Path

import pytest
from spec_files import BASE, Write

from amc_models.errors import InputError
from amc_platform.spec import SearchSpec, expand_trials, load_experiment

SEARCH = """\
search:
  seeds: [0, 7]
  list:
    - {name: base, set: {training.steps: 0}}
    - name: control
      set:
        objective.amc.variant: none
    - name: amc
    - name: mean
      set: {objective: {amc: {variant: mean, delta_1: 0.3}}, training.steps: 300}
    - name: elsewhere
      set: {start_from: other, data.prepare: null}
"""


def refused(write: Write, trials: str) -> str:
    path = write("a.yaml", BASE + "search:\n  list:\n" + trials)
    with pytest.raises(InputError) as error:
        load_experiment(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_spec_without_search_is_one_unnamed_trial(base: Path) -> None:
    (trial,) = expand_trials(base)
    assert (trial.name, trial.seed, trial.changes) == ("", 0, {})
    assert trial.experiment == load_experiment(base)


def test_seeds_without_trials_repeat_the_experiment(base: Path) -> None:
    trials = expand_trials(base, ["search.seeds=[5, 6]"])
    assert [(trial.name, trial.seed, trial.experiment.seed) for trial in trials] == [("", 5, 5), ("", 6, 6)]


def test_every_trial_is_run_with_every_seed(write: Write, tmp_path: Path) -> None:
    trials = expand_trials(write("deep/a.yaml", BASE + SEARCH))
    names = ["base", "control", "amc", "mean", "elsewhere"]
    assert [(trial.name, trial.seed) for trial in trials] == [
        (name, seed) for name in names for seed in (0, 7)
    ]
    assert all(trial.experiment.search == SearchSpec() for trial in trials)
    assert all(trial.experiment.seed == trial.seed for trial in trials)
    other = str(tmp_path / "deep" / "other")
    assert [trial.changes for trial in trials if trial.seed == 7] == [
        {"training.steps": 0},
        {"objective.amc.variant": "none"},
        {},
        {"objective.amc.variant": "mean", "objective.amc.delta_1": 0.3},
        {"start_from": other, "data.prepare": None},
    ]
    assert trials[-1].experiment.start_from == tmp_path / "deep" / "other"
    assert trials[2].experiment.objective.amc.model_dump() == {"variant": "none"}


def test_what_a_trial_sets_wins_over_the_command_line(write: Write) -> None:
    trials = expand_trials(write("a.yaml", BASE + SEARCH), ["training.steps=50", "search.seeds=[1]"])
    assert [trial.experiment.training.steps for trial in trials] == [0, 50, 50, 300, 50]


def test_a_wrong_field_in_a_trial_is_told_with_its_line(write: Write) -> None:
    message = refused(
        write, "    - name: x\n      set:\n        training.lr: 1e-3\n        objective.amc.dleta_1: 1\n"
    )
    assert message == "a.yaml:19: objective.amc.dleta_1: no such field; did you mean delta_1?"
    message = refused(write, "    - name: x\n      set:\n        objective:\n          amc: {dleta_1: 1}\n")
    assert message == "a.yaml:19: objective.amc.dleta_1: no such field; did you mean delta_1?"


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ("    - {name: x, set: {seed: 3}}\n", "a.yaml:16: seed: a trial cannot change it; use search.seeds"),
        ("    - {name: x, set: {tracking.kind: none}}\n", "a.yaml:16: tracking: a trial cannot change it"),
        ("    - {name: x, set: 3}\n", "a.yaml:16: search.list.0.set: must be a mapping of fields, not 3"),
        ("    - {name: x}\n    - {name: x}\n", "a.yaml:17: search.list.1.name: 'x' names two rows"),
        ("    - {nmae: x}\n", "a.yaml:16: search.list.0.name: missing"),
        ("    - {name: x, sets: {}}\n", "a.yaml:16: search.list.0.sets: no such field; did you mean set?"),
        ("    - {name: x, set: {cluster.workers: 2}}\n", "a.yaml:16: cluster: a trial cannot change it"),
        ("    - {name: x, set: {budget.limit: 2}}\n", "a.yaml:16: budget: a trial cannot change it"),
        (
            "    - {name: x, set: {evaluation.validation_images: 5}}\n",
            "a.yaml:16: evaluation.validation_images: no effect",
        ),
        ("    x\n", "search.list: must be a valid list"),
    ],
)
def test_wrong_trials_are_refused_before_anything_runs(write: Write, trials: str, message: str) -> None:
    assert message in refused(write, trials)


def test_a_trial_may_switch_off_what_its_own_file_configures(write: Write) -> None:
    text = BASE + "evaluation: {every: 10, validation_images: 4}\n"
    path = write("a.yaml", text + "search:\n  list:\n    - {name: x, set: {evaluation.every: null}}\n")
    (trial,) = expand_trials(path)
    assert trial.experiment.evaluation.validation_images is None
    assert load_experiment(path).evaluation.validation_images == 4
