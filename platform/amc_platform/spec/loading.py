"""From the YAML file of a spec to the experiment and its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amc_models.errors import InputError
from amc_platform.spec.entries import Entry, combine, flatten, nested, stack
from amc_platform.spec.errors import input_error, located
from amc_platform.spec.layers import override_layer, read_layers
from amc_platform.spec.schema import Experiment
from amc_platform.spec.unused import unused_options
from amc_platform.spec.yaml_text import to_yaml

# What a trial cannot change, because all trials of an experiment share it.
SHARED = {
    "name": "write the trial's own name beside `set`",
    "seed": "use search.seeds",
    "search": "trials do not nest",
    "output": "write it outside of search",
    "tracking": "write it outside of search",
}


_Row = tuple[str, Experiment, dict[str, Any]]


@dataclass(frozen=True)
class Trial:
    """One row and one seed of an experiment."""

    name: str
    """Name of the row; empty when the experiment is a single run."""
    seed: int
    experiment: Experiment
    """The whole spec of this trial: its `set` applied, its seed put in, its `search` empty."""
    changes: dict[str, Any]
    """Dotted paths that the trial sets to other values than the experiment's, with them; never the seed."""


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in the file `path` with `overrides` (`a.b=c`) on top; its trials are valid too.

    Raises InputError: one line with file, line, field and remedy.
    """
    return _load(path, overrides)[0]


def expand_trials(path: str | Path, overrides: Sequence[str] = ()) -> list[Trial]:
    """Every trial with every seed, trials in the order of the file, the seeds of a trial together.

    A trial's `set` lies over the overrides: `--set` changes the experiment, rows keep what tells them apart.
    Raises InputError like `load_experiment`; what is wrong with a trial is told with the line of its `set`.
    """
    experiment, rows = _load(path, overrides)
    return [
        Trial(name, seed, row.model_copy(update={"seed": seed}), changes)
        for name, row, changes in rows
        for seed in experiment.search.seeds or [experiment.seed]
    ]


def to_mapping(experiment: Experiment) -> dict[str, Any]:
    """The resolved spec as plain mappings, lists and scalars, as in a file that spells out everything."""
    return experiment.model_dump(mode="json")


def dump_experiment(experiment: Experiment) -> str:
    """The resolved spec as YAML; loading it gives an equal experiment from any working directory."""
    return to_yaml(to_mapping(experiment))


def _load(path: str | Path, overrides: Sequence[str]) -> tuple[Experiment, list[_Row]]:
    """The experiment, and its rows with the spec of each and what it changes."""
    layers = [*read_layers(path), override_layer(overrides)]
    root = stack(layers)
    experiment = _resolve(root)
    alone = [*(layer.without(["search"]) for layer in layers)]
    before = flatten(to_mapping(experiment))
    rows: list[_Row] = []
    for index, spec in enumerate(experiment.search.trials):
        written = root.find(["search", "trials", index, "set"])
        change = _change(written) if written else Entry({}, root.origin)
        row = _resolve(stack([*alone, change]))
        after = flatten(to_mapping(row))
        paths = [key for key in flatten(change.plain()) if key in after]
        changes = {key: after[key] for key in paths if key not in before or after[key] != before[key]}
        rows.append((spec.name, row, changes))
    return experiment, rows or [("", _resolve(stack(alone)), {})]


def _change(entry: Entry) -> Entry:
    """A trial's `set` as a layer, its dotted keys nested. Fields that all trials share are refused."""
    layer = _nest(entry)
    for key, advice in SHARED.items():
        if shared := layer.find([key]):
            raise InputError(f"{shared.origin.place}: {key}: a trial cannot change it; {advice}")
    return layer


def _nest(entry: Entry) -> Entry:
    if not isinstance(entry.value, dict):
        return entry
    parts = (nested(key.split("."), _nest(inner)) for key, inner in entry.value.items())
    return combine(parts, entry.origin)


def _resolve(root: Entry) -> Experiment:
    """The experiment in `root`.

    An option without effect is refused, unless a later layer than its own switched it off: there it may be of
    use, and here it cannot be removed, so it goes back to its default.
    """
    experiment = _validated(root)
    while unused := unused_options(experiment):
        for item in unused:
            path = item.option.split(".")
            option, cause = root.find(path), root.find(item.because.split("."))
            if not option or not cause or option.origin.layer >= cause.origin.layer:
                raise InputError(located(root, path, item.problem))
            root = root.without(path)
        experiment = _validated(root)
    return experiment


def _validated(root: Entry) -> Experiment:
    try:
        return Experiment.model_validate(root.plain())
    except ValidationError as error:
        raise input_error(error, root) from error
