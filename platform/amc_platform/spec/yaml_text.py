"""YAML text in and out, read so that a spec means what it looks like.

Plain values follow the core schema of YAML 1.2. PyYAML's own is YAML 1.1, in which `flip: off` is false,
`1e-4` a string and `1:30` ninety. `.nan` and `.inf` are no numbers here: no field takes them.
"""

import re
from typing import Any

import yaml

from amc_models.errors import InputError
from amc_platform.spec.entries import Entry, Origin

_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
)


class _Reader(yaml.SafeLoader):
    """Knows the plain values of `_CORE` only."""


_Reader.yaml_implicit_resolvers = {}


class _Writer(yaml.SafeDumper):
    """Quotes what either version of YAML would not read as a string."""


for _tag, _pattern, _first in _CORE:
    for _class in (_Reader, _Writer):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse(text: str, name: str, *, lines: bool = True) -> Entry:
    """The value in `text`, each entry with the origin `name:line` (`name` alone without `lines`).

    Raises InputError, with the line, on invalid YAML, on a key written twice and on an empty text.
    """
    try:
        reader = _Reader(text)
        node = reader.get_single_node()
        if node is None:
            raise InputError(f"{name}: is empty; write a spec into it")
        return _Composer(reader, name, lines).entry(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark and lines else name
        raise InputError(f"{place}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from error


class _Composer:
    """Turns YAML nodes into entries; PyYAML's constructor forgets lines and keeps the last of equal keys."""

    def __init__(self, reader: _Reader, name: str, lines: bool) -> None:
        self.reader, self.name, self.lines = reader, name, lines

    def entry(self, node: yaml.Node, above: tuple[int, ...]) -> Entry:
        origin = self.origin(node)
        if id(node) in above:
            raise InputError(f"{origin.place}: an anchor contains itself; write the value out")
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, above)
        if isinstance(node, yaml.SequenceNode):
            return Entry([self.entry(item, above) for item in node.value], origin)
        return Entry(self.reader.construct_object(node), origin)

    def mapping(self, node: yaml.MappingNode, above: tuple[int, ...]) -> Entry:
        values: dict[str, Entry] = {}
        for key, value in node.value:
            origin = self.origin(key)
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{origin.place}: a key must be one word; write `name: value`")
            if key.value in values:
                first = values[key.value].origin.place
                raise InputError(f"{origin.place}: {key.value}: written twice, first at {first}; remove one")
            # The key's line, not the value's: a long value may begin on the next line.
            values[key.value] = Entry(self.entry(value, above).value, origin)
        return Entry(values, self.origin(node))

    def origin(self, node: yaml.Node) -> Origin:
        return Origin(f"{self.name}:{node.start_mark.line + 1}" if self.lines else self.name)


def to_yaml(value: Any) -> str:
    """`value` (mappings, lists and scalars) as YAML text that `parse` reads back equal."""
    return yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110)
