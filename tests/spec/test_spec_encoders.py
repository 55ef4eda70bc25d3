"""Encoders in a spec: paths from the working directory, identity by content, options without effect."""

import json
from pathlib import Path

import pytest
from spec_files import BASE, Write

from amc_models.errors import InputError
from amc_platform.spec import Experiment, json_schema, load_experiment, training_identity

ENCODERS = BASE.replace("start_from: ../pretrained\n", "").replace(
    "model: {preset: small, patch_size: 4}",
    "model:\n"
    "  preset: small\n"
    "  stem: patch\n"
    "  vision: {timm: resnet18, weights: weights/resnet18.pth, out_index: 3}\n"
    "  text: {transformers: weights/bert}\n",
)


@pytest.fixture
def spec(write: Write) -> Path:
    return write("encoders.yaml", ENCODERS)


def identity_of(experiment: Experiment, start: str | None = "s") -> str:
    return training_identity(experiment, data_hash="d", start_hash=start, code_format="1")


def test_paths_count_from_the_working_directory(spec: Path) -> None:
    model = load_experiment(spec).model
    assert model.vision is not None
    assert model.text is not None
    assert model.vision.weights == str(Path.cwd() / "weights/resnet18.pth")
    assert model.text.transformers == str(Path.cwd() / "weights/bert")


def test_content_counts_for_the_identity_and_no_path(spec: Path) -> None:
    first = identity_of(load_experiment(spec))
    moved = ["model.vision.weights=elsewhere.pth", "model.text.transformers=other"]
    assert identity_of(load_experiment(spec, moved)) == first
    assert identity_of(load_experiment(spec), start="t") != first
    assert identity_of(load_experiment(spec, ["model.vision.out_index=2"])) != first
    assert identity_of(load_experiment(spec, ["model.vision.timm=resnet26"])) != first


def test_without_encoders_identities_are_those_of_before(base: Path) -> None:
    # As training_identity gave it before there were encoders.
    assert identity_of(load_experiment(base)) == "ccae03fe6f8cbad1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.vision.tim=x", r"model\.vision\.tim: no such field; did you mean timm\?"),
        ("model.vision.weights=''", r"model\.vision\.weights: .*at least 1 character"),
        ("model.text.transformers=3", r"model\.text\.transformers: must be a valid string, not 3"),
        ("model.stem=convolution", "stem convolution has no effect with vision"),
        ("vocabulary=words.txt", r"vocabulary: no effect while model\.text is transformers="),
    ],
)
def test_what_cannot_be_is_one_line(spec: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_experiment(spec, [override])
    assert "\n" not in str(error.value)


def test_a_checkpoint_to_start_from_leaves_the_files_of_a_base_unused(spec: Path, write: Write) -> None:
    child = write("child.yaml", f"extends: {spec.name}\nstart_from: pretrained\n")
    model = load_experiment(child).model
    assert model.vision is not None
    assert (model.vision.timm, model.vision.weights, model.text) == ("resnet18", None, None)
    both = write("both.yaml", ENCODERS + "start_from: pretrained\n")
    with pytest.raises(InputError, match=r"model\.vision\.weights: no effect while start_from is"):
        load_experiment(both)


def test_the_schema_knows_encoders_and_sources() -> None:
    text = json.dumps(json_schema())
    for word in ("tf_efficientnet_lite0", "out_index", "transformers", "flickr30k-entities", "only_present"):
        assert word in text
