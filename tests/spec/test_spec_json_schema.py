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


def cost_of(statement: str) -> tuple[set[str], float]:
    """The modules that a fresh Python has loaded after `statement`, and its processor time in seconds."""
    code = (
        f"import resource, sys\n{statement}\nusage = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(usage.ru_utime + usage.ru_stime, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, *modules = done.stdout.split()
    return set(modules), float(seconds)


def test_reading_specs_needs_no_heavy_library_and_little_time() -> None:
    spec, libraries = zip(
        *((cost_of("import amc_platform.spec"), cost_of("import pydantic, yaml")) for _ in range(3)),
        strict=True,
    )
    heavy = {"torch", "pyarrow", "ray", "mlflow", "timm", "transformers", "numpy", "matplotlib"}
    assert spec[0][0] & heavy == set()
    # Measured 0.34 s against 0.14 s on an idle machine; a busy one slows down both.
    assert min(seconds for _, seconds in spec) < 4 * min(seconds for _, seconds in libraries)
