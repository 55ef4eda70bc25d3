"""The layers of a spec: the files it extends, itself, and what the command line sets."""

from collections.abc import Sequence
from pathlib import Path

from amc_models.errors import InputError
from amc_models.registered import is_registered
from amc_platform.spec.entries import Entry, Origin, combine, nested
from amc_platform.spec.yaml_text import parse


def read_layers(path: str | Path) -> list[Entry]:
    """The mappings of all files that `path` extends and of `path` itself, the later wins.

    `extends:` names a file or a list of files, relative to the file that says so. A file reached twice counts
    once, where it is reached first. Raises InputError for a missing or invalid file and for a circle.
    """
    found: dict[Path, Entry] = {}
    _read(Path(path), (), found, "")
    return list(found.values())


def override_layer(overrides: Sequence[str]) -> Entry:
    """One layer out of all `a.b=c` of the command line; `c` is YAML, and of two for a field the last wins."""
    return combine(map(_override, overrides), Origin("--set"))


def _override(text: str) -> Entry:
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: not an override; write it as training.lr=1e-4")
    place = f"--set {path.strip()}"
    return nested(keys, parse(value.strip() or "null", place, lines=False))


def _read(path: Path, chain: tuple[Path, ...], found: dict[Path, Entry], asker: str) -> None:
    identity = path.resolve()
    if identity in chain:
        circle = " -> ".join(file.name for file in (*chain[chain.index(identity) :], identity))
        raise InputError(f"{asker}goes in a circle: {circle}; remove one of them")
    if identity in found:
        return
    root = parse(_text(path, asker), _shown(path))
    if not isinstance(root.value, dict):
        raise InputError(f"{root.origin.place}: must be a mapping of fields; write `name: ...`")
    if "extends" in root.value:
        extends = root.value["extends"]
        for parent in _parents(extends):
            asked_by = f"{extends.origin.place}: extends: "
            _read(path.parent / parent, (*chain, identity), found, asked_by)
    found[identity] = _anchored(root.without(["extends"]), path.parent)


def _parents(extends: Entry) -> list[str]:
    named = extends.plain()
    parents: list[object] = named if isinstance(named, list) else [named]
    files = [parent for parent in parents if isinstance(parent, str) and parent]
    if not files or len(files) < len(parents):
        raise InputError(f"{extends.origin.place}: extends: must be a file or a list of files")
    return files


def _text(path: Path, asker: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{asker}{_shown(path)}: no such file; check the path") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); name a YAML file"
        raise InputError(f"{asker}{_shown(path)}: {problem}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{asker}{_shown(path)}: is not UTF-8 text; name a YAML file") from error


def _anchored(root: Entry, folder: Path) -> Entry:
    """`root` with every relative `start_from` resolved against `folder`: checkpoints lie beside specs."""
    value = dict(root.value) if isinstance(root.value, dict) else {}
    start = value.get("start_from")
    if start and isinstance(start.value, str) and start.value and not is_registered(start.value):
        absolute = (folder.absolute() / Path(start.value).expanduser()).resolve()
        value["start_from"] = Entry(str(absolute), start.origin)
    search = value.get("search")
    rows = search.find(["list"]) if search else None
    if search and isinstance(search.value, dict) and rows and isinstance(rows.value, list):
        anchored = Entry([_anchored_row(row, folder) for row in rows.value], rows.origin)
        value["search"] = Entry({**search.value, "list": anchored}, search.origin)
    return Entry(value, root.origin)


def _anchored_row(row: Entry, folder: Path) -> Entry:
    change = row.find(["set"])
    if not isinstance(row.value, dict) or not change or not isinstance(change.value, dict):
        return row
    return Entry({**row.value, "set": _anchored(change, folder)}, row.origin)


def _shown(path: Path) -> str:
    """`path` relative to the working directory where it lies below it."""
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
