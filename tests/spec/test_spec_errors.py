import copy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from spec_files import BASE, Write

from amc_models.errors import InputError
from amc_models.objectives.config import AmcLoss
from amc_platform.spec import load_experiment
from amc_platform.spec.entries import flatten
from amc_platform.spec.errors import _field_names, _models, input_error
from amc_platform.spec.schema import Experiment
from amc_platform.spec.sources import ScenesSource
from amc_platform.spec.suggestions import edit_distance, nearest
from amc_platform.spec.unused import RULES
from amc_platform.spec.yaml_text import parse


def names_in(section: str) -> list[str]:
    return _field_names(_models(Experiment.model_fields[section].annotation)[0])


# The valid names of every section, and of both mappings that are chosen by a discriminator.
SECTIONS: dict[tuple[str, ...], list[str]] = {
    (): list(Experiment.model_fields),
    **{
        (name,): names_in(name) for name in ("model", "data", "training", "evaluation", "cluster", "tracking")
    },
    ("data", "prepare"): list(ScenesSource.model_fields),
    ("objective", "amc"): list(AmcLoss.model_fields),
}
ROOT = parse(BASE + "evaluation: {}\ncluster: {}\ntracking: {}\n", "f.yaml").plain()
FIELDS = [(section, name) for section, names in SECTIONS.items() for name in names]


def message_of(text: str, *, name: str = "f.yaml") -> str:
    root = parse(text, name)
    with pytest.raises(ValidationError) as error:
        Experiment.model_validate(root.plain())
    return str(input_error(error.value, root))


def load_error(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as error:
        load_experiment(path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[tuple[str, ...], str, str]:
    """A section, a name valid in it, and one at edit distance 1 that is not."""
    section, name = draw(st.sampled_from(FIELDS))
    position = draw(st.integers(0, len(name)))
    letter = draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_12"))
    wrong = draw(
        st.sampled_from(
            [
                name[:position] + letter + name[position:],
                name[:position] + letter + name[position + 1 :],
                name[:position] + name[position + 1 :],
                name[:position]
                + name[position + 1 : position + 2]
                + name[position : position + 1]
                + name[position + 2 :],
            ]
        ).filter(lambda word: word and word not in (*SECTIONS[section], "preset_name"))
    )
    return section, name, wrong


@settings(max_examples=60)
@given(misspelt())
def test_a_name_misspelt_by_one_letter_is_refused_and_the_right_one_suggested(
    case: tuple[tuple[str, ...], str, str],
) -> None:
    section, name, wrong = case
    root = copy.deepcopy(ROOT)
    mapping = root
    for key in section:
        mapping = mapping[key]
    mapping[wrong] = 1
    with pytest.raises(ValidationError) as error:
        Experiment.model_validate(root)
    message = str(input_error(error.value, parse("a: 1", "f.yaml")))
    path = ".".join([*section, wrong])
    assert f"{path}: no such field; did you mean " in message
    suggested = message.partition("did you mean ")[2].partition("?")[0].replace(" or ", ", ").split(", ")
    assert name in suggested


def test_a_valid_spec_has_no_finding() -> None:
    Experiment.model_validate(parse(BASE, "f.yaml").plain())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.amc.dleta_1=1", "--set objective.amc.dleta_1: no such field; did you mean delta_1?"),
        ("lr=1", "--set lr: no such field; did you mean training.lr?"),
        (
            "tracking.user=me",
            "--set tracking.user: no such field; choose kind, uri, experiment, model or upload",
        ),
        ("objective.amc.delta_1=-0.1", "must be greater than or equal to 0, not -0.1"),
        ("objective.amc.variant=man", '"man" is no choice here; did you mean mean or max?'),
        ("objective.amc=none", 'must be a mapping of fields, not "none"'),
        ("data.flip=swpa", '"swpa" is no choice here; did you mean swap?'),
        ("data.flip=false", "false is no choice here; choose off, plain or swap"),
        ("data.images_per_batch=0", "must be greater than 0, not 0"),
        ("data.images_per_batch='16'", 'must be a valid integer, not "16"'),
        (
            "data.table=x.csv",
            "--set data.table: x.csv is not a grounding table; name a file that ends in .parquet",
        ),
        (
            "data.splits=[trian]",
            "--set data.splits: data.prepare makes no split 'trian'; did you mean train?",
        ),
        ("data.prepare.val=x", '--set data.prepare.val: must be a valid integer, not "x"'),
        ("data.kinds=[]", "--set data.kinds: "),
        (
            "evaluation.splits=[test, unseen]",
            "data.prepare makes no split 'unseen'; choose train, val or test",
        ),
        ("evaluation.splits=[test, test]", "names a value twice; remove one"),
        (
            "cluster.workers=3",
            "base.yaml:7: data.images_per_batch: 16 images cannot be shared evenly by 3 workers",
        ),
        ("training.lr_min=1", "--set training.lr_min: 1 is above lr 0.0001"),
        ("training.warmup_steps=301", "--set training.warmup_steps: 301 is more than training.steps 300"),
        ("training.schedule=published", "training.steps_per_epoch: missing; the published schedule counts"),
        ("training.epochs=3", "training.epochs: no effect while training.schedule is cosine"),
        ("training.steps=true", "must be a valid integer, not true"),
        ("training.lr=.inf", 'must be a valid number, not ".inf"'),
        ("training.lr=1e999", "must be a finite number"),
        ("training=", "--set training: must be a mapping of fields, not null"),
        ("model.preset=smal", "--set model.preset: 'smal' is not a preset; did you mean small?"),
        ("model.preset_name=base", "--set model.preset_name: no such field; did you mean preset?"),
        ("model.vision_heads=3", "base.yaml:2: model: vision_width must be a multiple of vision_heads"),
        ("name=../x", '--set name: "../x" does not fit'),
        ("start_from=''", "--set start_from: is empty; name a path"),
        ("search.seeds=[1, 1]", "--set search.seeds: names a value twice; remove one"),
        ("extends=x.yaml", "--set extends: no such field"),
        ("training.lr", "--set training.lr: not an override; write it as training.lr=1e-4"),
        ("a..b=1", "--set a..b=1: not an override"),
        ("data.kinds=[a", "--set data.kinds: not valid YAML"),
    ],
)
def test_a_wrong_value_names_its_field_and_the_remedy(base: Path, override: str, message: str) -> None:
    assert message in load_error(base, override)


def test_an_option_of_another_variant_says_which(write: Write) -> None:
    text = BASE.replace("variant: amc", "variant: mean")
    assert load_error(write("a.yaml", text)) == (
        "a.yaml:12: objective.amc.delta_2: not used by variant `mean`; remove it or choose variant amc or max"
    )


def test_a_missing_field_has_the_line_of_its_mapping(write: Write) -> None:
    text = BASE.replace("  images_per_batch: 16\n", "")
    assert load_error(write("a.yaml", text)) == "a.yaml:4: data.images_per_batch: missing; write it"


def test_a_network_needs_a_preset_or_every_size(write: Write) -> None:
    text = BASE.replace("preset: small, ", "")
    assert load_error(write("a.yaml", text)) == (
        "a.yaml:2: model.preset: missing; choose base, small or custom (custom: write every size)"
    )
    assert "model.image_size: missing" in load_error(write("b.yaml", BASE.replace("small", "custom")))


def test_findings_are_joined_and_the_rest_counted() -> None:
    text = (
        BASE.replace("steps: 300", "steps: x").replace("lr: 1e-4", "lr: 0").replace("quick", "quick\nlear: 1")
    )
    text = text.replace("images_per_batch: 16", "images_per_batch: 0")
    message = message_of(text)
    assert [part.split(": ")[0] for part in message.split("; ")[:3]] == ["f.yaml:8", "f.yaml:14", "f.yaml:14"]
    assert message.endswith("; and 1 more")


def test_every_rule_about_unused_options_names_fields_that_exist() -> None:
    seeing = BASE.replace("patch_size: 4", "stem: patch, vision: {timm: resnet18}")
    specs = [Experiment.model_validate(parse(text, "x").plain()) for text in (BASE, seeing)]
    fields = set[str]().union(*(flatten(spec.model_dump()) for spec in specs))
    assert {path for rule in RULES for path in (*rule.options, rule.because)} <= fields


def test_edit_distance_counts_a_swap_once() -> None:
    assert edit_distance("dleta", "delta") == 1
    assert edit_distance("", "abc") == 3
    assert edit_distance("kitten", "sitting") == 3


def test_all_nearest_names_are_given() -> None:
    assert nearest("itx", ["itc", "itm", "mlm"]) == ["itc", "itm"]
    assert nearest("unrelated", ["itc", "itm"]) == []


def test_every_field_says_in_a_sentence_what_it_is() -> None:
    def check(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            inner = _models(field.annotation)
            assert field.description or name in {"variant"}, f"{model.__name__}.{name}"
            for nested in inner:
                check(nested)

    check(Experiment)
