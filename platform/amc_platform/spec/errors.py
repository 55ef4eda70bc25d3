"""Errors of validation as one line that names the file, the line, the field and the remedy."""

import json
import re
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_platform.spec.entries import DISCRIMINATORS, Entry
from amc_platform.spec.schema import Experiment
from amc_platform.spec.suggestions import either, hint, nearest

SHOWN = 3
_MAPPING_EXPECTED = {"model_type", "model_attributes_type", "dict_type"}


def input_error(error: ValidationError, root: Entry, model: type[BaseModel] = Experiment) -> InputError:
    """The first few of pydantic's findings about `root`, a `model`, joined by `; `, each with its file and line."""
    details = error.errors(include_url=False)
    lines = [_line(detail, root, model) for detail in details[:SHOWN]]
    if len(details) > SHOWN:
        lines.append(f"and {len(details) - SHOWN} more")
    return InputError("; ".join(lines))


def located(root: Entry, path: Sequence[str | int], problem: str) -> str:
    """`FILE:LINE: dotted.path: problem`; for a field that nobody wrote, with the line of its mapping."""
    place = root.walk(path)[-1].origin.place
    dotted = ".".join(str(key) for key in path)
    # `--set a.b` names the field already.
    return ": ".join(filter(None, (place, "" if place == f"--set {dotted}" else dotted, problem)))


def _line(detail: ErrorDetails, root: Entry, whole: type[BaseModel]) -> str:
    path, models = _locate(detail["loc"], whole)
    addition, problem = _problem(detail, models, whole)
    return located(root, (*path, *addition), problem)


def _problem(
    detail: ErrorDetails, models: Sequence[type[BaseModel]], whole: type[BaseModel]
) -> tuple[Sequence[str | int], str]:
    """What is wrong in words, and what is to be appended to the path."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    match kind:
        case "spec":
            keys = filter(None, context["path"].split("."))
            return [int(key) if key.isdigit() else key for key in keys], detail["msg"]
        case "extra_forbidden":
            return (), _unknown(str(detail["loc"][-1]), detail["loc"], models, whole)
        case "missing":
            return (), "missing; write it"
        case "literal_error":
            return (), _not_one_of(value, context["expected"])
        case "union_tag_invalid":
            discriminator = _quoted(context["discriminator"])[0]
            return [discriminator], _not_one_of(context["tag"], context["expected_tags"])
        case "union_tag_not_found":
            discriminator = _quoted(context["discriminator"])[0]
            return [discriminator], f"missing; choose {either(_tag(model) for model in models)}"
        case "string_pattern_mismatch":
            return (
                (),
                f"{_shown(value)} does not fit; use letters, digits, `_`, `-`, `.`, parts joined by `/`",
            )
        case _ if kind in _MAPPING_EXPECTED:
            return (), f"must be a mapping of fields, not {_shown(value)}"
        case "value_error":
            return (), str(context["error"])
        case _:
            return (), f"{detail['msg'].replace('Input should', 'must')}, not {_shown(value)}"


def _unknown(
    name: str, loc: Sequence[str | int], models: Sequence[type[BaseModel]], whole: type[BaseModel]
) -> str:
    """`models` are those that the mapping may be; if several, `loc` names the chosen one before `name`."""
    chosen = next((model for model in models if len(models) == 1 or _tag(model) == loc[-2]), None)
    valid = _field_names(chosen) if chosen else []
    users = [_tag(model) for model in models if model is not chosen and name in model.model_fields]
    if chosen and users:
        key = _discriminator(chosen)
        return f"not used by {key} `{_tag(chosen)}`; remove it or choose {key} {either(users)}"
    elsewhere = [path for path in _paths(whole) if path.split(".")[-1] == name]
    if elsewhere and not nearest(name, valid):
        return f"no such field; did you mean {either(elsewhere)}?"
    return f"no such field; {hint(name, valid)}"


def _not_one_of(value: Any, expected: str) -> str:
    return f"{_shown(value)} is no choice here; {hint(str(value), _quoted(expected))}"


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _locate(
    loc: Sequence[str | int], whole: type[BaseModel]
) -> tuple[tuple[str | int, ...], list[type[BaseModel]]]:
    """The path as the user writes it (pydantic inserts the variants of unions), and the models it may be in.

    These are the models of the mapping around the last key, or for a path that ends on a union, its variants.
    """
    path: list[str | int] = []
    here: list[type[BaseModel]] = [whole]
    parents = here
    chosen = here
    for key in loc:
        if len(chosen) > 1 and any(_tag(model) == key for model in chosen):
            chosen = [model for model in chosen if _tag(model) == key]
            continue
        path.append(key)
        parents = here
        if isinstance(key, str):
            field = chosen[0].model_fields.get(key) if chosen else None
            here = chosen = _models(field.annotation) if field else []
    return tuple(path), here if len(here) > 1 else parents


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model named in an annotation, through unions, lists and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _field_names(model: type[BaseModel]) -> list[str]:
    # The one field that a spec writes by another name, see values.ModelSpec.
    renamed = {"preset_name": "preset"} if model is AlbefConfig else {}
    return [renamed.get(name, name) for name in model.model_fields]


def _discriminator(model: type[BaseModel]) -> str:
    return next(key for key in DISCRIMINATORS if key in model.model_fields)


def _tag(model: type[BaseModel]) -> str:
    """The value of the discriminator that selects `model` in its union."""
    return str(get_args(model.model_fields[_discriminator(model)].annotation)[0])


def _paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of all fields below `model`, once each."""
    paths: dict[str, None] = {}
    for name, field in model.model_fields.items():
        paths[f"{prefix}{name}"] = None
        # Not into lists: a name in a trial is no remedy for one elsewhere.
        for inner in [] if get_origin(field.annotation) is list else _models(field.annotation):
            paths |= dict.fromkeys(_paths(inner, f"{prefix}{name}."))
    return list(paths)
