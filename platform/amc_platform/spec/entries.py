"""Values of a spec that remember which line wrote them, and how a layer of them is laid over another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

Scalar = str | int | float | bool | None

# Keys that decide which other keys their mapping may have, and what a mapping is that does not say.
DISCRIMINATORS = {"variant": "amc", "source": None}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: `quickstart.yaml:12` or `--set training.steps`; later layers win."""

    place: str
    layer: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a spec and its origin; the values in a mapping or list are entries themselves."""

    value: "Scalar | list[Entry] | dict[str, Entry]"
    origin: Origin

    def plain(self) -> Any:
        """The value without origins."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value

    def child(self, key: str | int) -> "Entry | None":
        """The entry under one key of a mapping or at one index of a list, None where there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(key))
        if isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            return self.value[key]
        return None

    def walk(self, path: Iterable[str | int]) -> "list[Entry]":
        """The entries met on the way along `path`, itself first; it ends where nothing was written."""
        met: list[Entry] = [self]
        for key in path:
            inner = met[-1].child(key)
            if inner is None:
                break
            met.append(inner)
        return met

    def find(self, path: Sequence[str | int]) -> "Entry | None":
        """The entry at `path`, None where nothing was written."""
        met = self.walk(path)
        return met[-1] if len(met) == len(path) + 1 else None

    def without(self, path: Sequence[str]) -> "Entry":
        """A copy that lacks the key at `path`."""
        if not isinstance(self.value, dict) or path[0] not in self.value:
            return self
        kept = {key: entry for key, entry in self.value.items() if key != path[0]}
        if len(path) > 1:
            kept[path[0]] = self.value[path[0]].without(path[1:])
        return Entry(kept, self.origin)


def nested(path: Sequence[str], leaf: Entry) -> Entry:
    """`a.b` and 1 become {a: {b: 1}}, all with the leaf's origin."""
    return reduce(lambda inner, key: Entry({key: inner}, leaf.origin), reversed(path), leaf)


def merge(base: Entry, over: Entry) -> Entry:
    """The layer `over` laid over `base`: mappings merge deep, lists and scalars replace.

    Where `over` changes a discriminator (`variant`, `source`), the base's other keys of that mapping are
    dropped: they were written for the other variant.
    """
    return _merge(base, over, _changes_variant)


def combine(parts: Iterable[Entry], origin: Origin) -> Entry:
    """One layer out of mappings whose order says nothing: of two values for a field the last counts."""
    return reduce(lambda one, other: _merge(one, other, lambda _base, _over: False), parts, Entry({}, origin))


def _merge(base: Entry, over: Entry, replaces: "Callable[[Entry, Entry], bool]") -> Entry:
    if not isinstance(base.value, dict) or not isinstance(over.value, dict) or replaces(base, over):
        return over
    merged = dict(base.value)
    for key, entry in over.value.items():
        merged[key] = _merge(merged[key], entry, replaces) if key in merged else entry
    return Entry(merged, base.origin)


def _changes_variant(base: Entry, over: Entry) -> bool:
    for key, default in DISCRIMINATORS.items():
        before, after = base.child(key), over.child(key)
        kind = before.plain() if before else default
        if after and kind is not None and kind != after.plain():
            return True
    return False


def stack(layers: Sequence[Entry]) -> Entry:
    """All `layers` merged, the later over the earlier, each entry stamped with the number of its layer."""
    return reduce(merge, (_stamped(entry, number) for number, entry in enumerate(layers)))


def _stamped(entry: Entry, layer: int) -> Entry:
    value = entry.value
    if isinstance(value, dict):
        value = {key: _stamped(inner, layer) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [_stamped(inner, layer) for inner in value]
    return Entry(value, Origin(entry.origin.place, layer))


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}, c: [2]} becomes {"a.b": 1, "c": [2]}."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= flatten(cast(Mapping[str, Any], value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
