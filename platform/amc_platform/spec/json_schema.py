"""The JSON schema of a spec file, for editors and for other programs."""

from typing import Any, cast

from amc_models.config import PRESETS
from amc_platform.spec.schema import Experiment


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a spec file: names, types, limits and one sentence for every field.

    No field is required, since `extends` may supply any of them; loading a spec tells what is missing.
    """
    schema = cast(dict[str, Any], _loosened(Experiment.model_json_schema()))
    network = schema["$defs"]["AlbefConfig"]["properties"]
    preset = {**network.pop("preset_name"), "title": "Preset", "enum": [*PRESETS, "custom"]}
    preset.pop("default", None)
    schema["$defs"]["AlbefConfig"]["properties"] = {"preset": preset, **network}
    file = {"type": "string", "minLength": 1}
    extends = {
        "title": "Extends",
        "description": "Spec file or files that this one builds on, relative to it; the later wins.",
        "anyOf": [file, {"type": "array", "items": file, "minItems": 1}],
    }
    schema["properties"] = {"extends": extends, **schema["properties"]}
    # The default is a path of the machine that prints the schema.
    schema["properties"]["output"]["default"] = "runs"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _loosened(node: Any) -> Any:
    """Without `required`; and a mapping that lacks its discriminator may fit several variants, so `anyOf`."""
    if isinstance(node, list):
        return [_loosened(item) for item in cast(list[Any], node)]
    if not isinstance(node, dict):
        return node
    mapping = cast(dict[str, Any], node)
    renamed = {"anyOf" if key == "oneOf" else key: _loosened(value) for key, value in mapping.items()}
    if isinstance(renamed.get("required"), list):
        del renamed["required"]
    return renamed
