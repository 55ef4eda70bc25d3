import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from spec_files import BASE

from amc_platform.spec import dump_experiment, json_schema
from amc_platform.spec.schema import Experiment
from amc_platform.spec.yaml_text import parse


def findings(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    return [error.message for error in validator.iter_errors(parse(text, "x").plain())]


def test_it_is_a_json_schema_without_paths_of_this_machine() -> None:
    schema: dict[str, Any] = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert str(sys.prefix) not in json.dumps(schema)
    assert schema["properties"]["output"]["default"] == "runs"


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        "extends: a.yaml\nobjective: {amc: {delta_1: 0.2}}\n",
        "extends: [a.yaml, b.yaml]\nmodel: {patch_size: 4}\n",
        dump_experiment(Experiment.model_validate(parse(BASE, "x").plain())),
    ],
)
def test_it_accepts_specs_and_those_that_extend(text: str) -> None:
    assert findings(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "sede: 1\n",
        "model: {preset: smal}\n",
        "model: {preset_name: small}\n",
        "objective: {amc: {variant: mean, delta_2: 1}}\n",
        "objective: {amc: {delta_1: -1}}\n",
        "data: {images_per_batch: 0}\n",
        "extends: 3\n",
        "training: {lr: fast}\n",
    ],
)
def test_it_refuses_what_loading_refuses(text: str) -> None:
    assert findings(text)


def test_reading_specs_needs_no_heavy_library_and_little_time() -> None:
    code = (
        "import resource, sys, amc_platform.spec\n"
        "heavy = {'torch', 'pyarrow', 'ray', 'mlflow', 'timm', 'transformers', 'numpy', 'matplotlib'}\n"
        "usage = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(sorted(heavy & set(sys.modules)), usage.ru_utime + usage.ru_stime)\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert all(run.startswith("[] ") for run in runs)
    # Processor time, and the better of two: the machine may be busy with something else.
    assert min(float(run.split()[-1]) for run in runs) < 0.6
