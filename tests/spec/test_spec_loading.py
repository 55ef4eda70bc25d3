from pathlib import Path

import pytest
from spec_files import BASE, Write

from amc_models.errors import InputError
from amc_models.objectives.config import AmcLoss, MeanLoss, NoAttentionMask
from amc_platform.spec import dump_experiment, load_experiment, to_mapping, unused_options


def test_a_spec_resolves_presets_defaults_and_paths(base: Path, tmp_path: Path) -> None:
    experiment = load_experiment(base)
    assert (experiment.model.preset_name, experiment.model.patch_size, experiment.model.vision_width) == (
        "small",
        4,
        128,
    )
    assert experiment.start_from == tmp_path.parent / "pretrained"
    assert experiment.data.table == tmp_path / "data" / "scenes.parquet"
    assert experiment.output == tmp_path / "runs"
    assert experiment.data.flip == "off"
    assert (experiment.training.lr, experiment.training.lr_min) == (0.0001, 0.00001)
    assert isinstance(experiment.objective.amc, AmcLoss)
    assert (experiment.objective.amc.delta_1, experiment.objective.amc.delta_2) == (0.1, 0.4)


def test_an_extending_file_overrides_deeply_and_later_parents_win(write: Write) -> None:
    write("shared/base.yaml", BASE)
    write("shared/long.yaml", "training: {steps: 900, log_every: 7}\n")
    child = write("child.yaml", "extends: [shared/base.yaml, shared/long.yaml]\ntraining: {log_every: 5}\n")
    training = load_experiment(child).training
    assert (training.steps, training.log_every, training.warmup_steps) == (900, 5, 10)


def test_a_file_reached_twice_counts_once(write: Write) -> None:
    write("base.yaml", BASE)
    write("a.yaml", "extends: base.yaml\nseed: 1\n")
    write("b.yaml", "extends: base.yaml\ntraining: {steps: 20}\n")
    experiment = load_experiment(write("c.yaml", "extends: [a.yaml, b.yaml]\n"))
    assert (experiment.seed, experiment.training.steps) == (1, 20)


def test_start_from_is_relative_to_the_file_that_writes_it(write: Write, tmp_path: Path) -> None:
    write("shared/base.yaml", BASE)
    child = write("deep/er/child.yaml", "extends: ../../shared/base.yaml\n")
    assert load_experiment(child).start_from == tmp_path / "pretrained"
    assert load_experiment(child, ["start_from=here"]).start_from == tmp_path / "here"
    assert load_experiment(child, ["start_from=null"]).start_from is None


def test_another_variant_drops_the_options_of_the_former(write: Write) -> None:
    write("base.yaml", BASE)
    child = write("child.yaml", "extends: base.yaml\nobjective: {amc: {variant: mean, delta_1: 0.3}}\n")
    loss = load_experiment(child).objective.amc
    assert loss == MeanLoss.model_validate({"variant": "mean", "delta_1": 0.3})
    assert load_experiment(child, ["objective.amc.variant=none"]).objective.amc == NoAttentionMask(
        variant="none"
    )
    same = load_experiment(child, ["objective.amc.variant=mean"]).objective.amc
    assert same == loss


def test_options_without_a_variant_are_those_of_amc(write: Write) -> None:
    write("base.yaml", BASE.replace("    variant: amc\n", ""))
    written, mean, amc = (
        load_experiment("base.yaml", overrides).objective.amc
        for overrides in ([], ["objective.amc.variant=mean"], ["objective.amc.variant=amc"])
    )
    assert written == amc == AmcLoss.model_validate({"delta_2": 0.4})
    assert mean == MeanLoss.model_validate({"variant": "mean"})


def test_overrides_are_yaml_and_do_not_depend_on_their_order(base: Path) -> None:
    overrides = ["objective.amc.delta_1=0.7", "objective.amc.variant=mean", "data.kinds=[region, spatial]"]
    for order in (overrides, overrides[::-1]):
        experiment = load_experiment(base, [*order, "training.lr=2e-4", "training.lr=3e-4"])
        assert experiment.objective.amc == MeanLoss.model_validate({"variant": "mean", "delta_1": 0.7})
        assert experiment.data.kinds == ["region", "spatial"]
        assert experiment.training.lr == 0.0003


def test_a_dumped_spec_loads_equal_from_anywhere(
    base: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["search.list=[{name: a, set: {objective.amc.delta_2: 0.6}}]", "search.seeds=[3, 4]"]
    experiment = load_experiment(base, overrides)
    dumped = write("elsewhere/spec.yaml", dump_experiment(experiment)).absolute()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = load_experiment(dumped)
    assert again == experiment
    assert to_mapping(again) == to_mapping(experiment)


def test_an_inherited_option_that_a_later_layer_switches_off_goes_back_to_its_default(write: Write) -> None:
    write("base.yaml", BASE + "evaluation: {every: 50, validation_images: 64}\n")
    child = write("child.yaml", "extends: base.yaml\nevaluation: {every: null}\n")
    experiment = load_experiment(child)
    assert experiment.evaluation.validation_images is None
    assert unused_options(experiment) == []
    dumped = write("dumped.yaml", dump_experiment(experiment))
    assert load_experiment(dumped) == experiment


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (
            "evaluation: {validation_images: 64}",
            "evaluation.validation_images: no effect while evaluation.every is null",
        ),
        ("evaluation: {every: null, validation_split: test}", "evaluation.validation_split: no effect"),
        ("tracking: {kind: none, uri: x}", "tracking.uri: no effect while tracking.kind is none"),
        ("vocabulary: words.txt", "vocabulary: no effect while start_from is /"),
    ],
)
def test_an_option_without_effect_is_refused(write: Write, addition: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_experiment(write("a.yaml", BASE + addition + "\n"))
    assert str(error.value).startswith("a.yaml:14: ")
    assert message in str(error.value)


def test_an_option_written_after_its_switch_is_refused(write: Write) -> None:
    write("base.yaml", BASE + "tracking: {kind: jsonl}\n")
    child = write("child.yaml", "extends: base.yaml\ntracking: {experiment: mine}\n")
    with pytest.raises(
        InputError, match=r"^child.yaml:2: tracking.experiment: no effect while tracking.kind is jsonl"
    ):
        load_experiment(child)


def test_circles_and_missing_parents_are_told_with_the_line_that_asks(write: Write) -> None:
    write("a.yaml", "name: a\nextends: b.yaml\n")
    write("b.yaml", "extends: a.yaml\n")
    with pytest.raises(InputError, match=r"^b.yaml:1: extends: goes in a circle: a.yaml -> b.yaml -> a.yaml"):
        load_experiment("a.yaml")
    write("c.yaml", "name: c\nextends: gone.yaml\n")
    with pytest.raises(InputError, match=r"^c.yaml:2: extends: gone.yaml: no such file"):
        load_experiment("c.yaml")
    write("d.yaml", "extends: [3]\n")
    with pytest.raises(InputError, match=r"^d.yaml:1: extends: must be a file or a list of files"):
        load_experiment("d.yaml")


def test_what_is_no_spec_file_is_one_line(write: Write, tmp_path: Path) -> None:
    write("list.yaml", "- 1\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00x")
    Path("folder").mkdir()
    for path, message in {
        "gone.yaml": "gone.yaml: no such file",
        "list.yaml": "list.yaml:1: must be a mapping",
        "binary.yaml": "binary.yaml: is not UTF-8 text",
        "folder": "folder: cannot be read",
    }.items():
        with pytest.raises(InputError) as error:
            load_experiment(path)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
