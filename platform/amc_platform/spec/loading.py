"""From the YAML file of a spec to the experiment and its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amc_models.errors import InputError
from amc_platform.spec.entries import Entry, combine, flatten, nested, stack
from amc_platform.spec.errors import input_error, located
from amc_platform.spec.factors import Values, active, combinations, corners, distinct, rounded, row_name
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
    "cluster": "write it outside of search",
    "budget": "write it outside of search",
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


def expand_trials(
    path: str | Path, overrides: Sequence[str] = (), points: Sequence[Values] = ()
) -> list[Trial]:
    """Every row with every seed, rows in the order of the file, the seeds of a row together.

    A row's changes lie over the overrides: `--set` changes the experiment, rows keep what tells them apart. The rows
    of `search.optuna` are `points`, what was proposed so far. Raises InputError like `load_experiment`; what is
    wrong with a row is told with its line.
    """
    experiment, rows = _load(path, overrides, points)
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


def _load(
    path: str | Path, overrides: Sequence[str], points: Sequence[Values] = ()
) -> tuple[Experiment, list[_Row]]:
    """The experiment, and its rows with the spec of each and what it changes."""
    layers = [*read_layers(path), override_layer(overrides)]
    root = stack(layers)
    experiment = _resolve(root)
    alone = [layer.without(["search"]) for layer in layers]
    before = flatten(to_mapping(experiment))

    def row(name: str, change: Entry) -> _Row:
        resolved = _resolve(stack([*alone, _change(change)]))
        after = flatten(to_mapping(resolved))
        paths = [key for key in flatten(_nest(change).plain()) if key in after]
        changes = {key: after[key] for key in paths if key not in before or after[key] != before[key]}
        return name, resolved, changes

    search = experiment.search
    if search.optuna is not None:
        for point in corners(search):
            row(*_varied(root, experiment, point))
        space = search.optuna.space
        rows = [
            _varied(root, experiment, {path: rounded(point[path], space[path]) for path in space})
            for point in points
        ]
    elif search.varied:
        chosen = distinct(active(v, search.when, before) for v in combinations(search))
        rows = [_varied(root, experiment, values) for values in chosen]
    elif search.list:
        rows = [
            (spec.name, root.find(["search", "list", index, "set"]) or Entry({}, root.origin))
            for index, spec in enumerate(search.list)
        ]
    else:
        rows = [("", Entry({}, root.origin))]
    return experiment, [row(name, change) for name, change in rows]


def _varied(root: Entry, experiment: Experiment, values: Values) -> tuple[str, Entry]:
    """Name and change of the row with `values` of varied fields, as if written where those fields are varied."""
    search = experiment.search
    values = active(values, search.when, flatten(to_mapping(experiment)))
    kind = ["grid"] if search.grid else ["random" if search.random else "optuna", "space"]
    place = root.walk(["search", *kind])[-1]
    lines = _nest(place)
    change = {path: Entry(value, lines.walk(path.split("."))[-1].origin) for path, value in values.items()}
    return row_name(values, search.varied), Entry(change, place.origin)


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
