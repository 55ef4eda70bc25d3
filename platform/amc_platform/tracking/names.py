"""Names that every tracker takes, and a config as flat parameters."""

import json
import posixpath
import re
from collections.abc import Mapping
from typing import cast

from amc_models.errors import InputError

_REFUSED = re.compile(r"[^/\w.\- ]")
_LONGEST_NAME = 250


def check_name(name: str, what: str = "metric") -> str:
    """Return `name` where MLflow takes it on every system, else raise InputError naming the remedy.

    Allowed are letters, digits, `_ - . /` and spaces, in the form of a clean relative path.
    """
    refused = _REFUSED.search(name)
    if refused:
        raise InputError(
            f"{what} {name!r}: {refused.group()!r} is not allowed in a name; say {spelled(name)!r}"
        )
    if not name or posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        raise InputError(f"{what} {name!r}: not a clean relative name; say for instance 'train/loss_amc'")
    if len(name) > _LONGEST_NAME:
        raise InputError(
            f"{what} {name[:40]!r}...: {len(name)} characters; a name has at most {_LONGEST_NAME}"
        )
    return name


def spelled(name: str) -> str:
    """Return `name` as MLflow's users write it, with what no tracker takes replaced: `refcoco+` is `refcoco_plus`."""
    return _REFUSED.sub("_", name.replace("+", "_plus"))


def value_text(value: object) -> str:
    """Spell a value as a spec does: strings as they are, all else as JSON (`true`, `null`, `[1, 2]`)."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return the leaves of a nested config under dotted names; a list is one leaf.

    `{"data": {"split": "train"}, "seeds": [0, 1]}` becomes `{"data.split": "train", "seeds": "[0, 1]"}`.
    """
    leaves: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            leaves |= flatten(cast(Mapping[str, object], value), f"{name}.")
        else:
            leaves[name] = value_text(value)
    return leaves
