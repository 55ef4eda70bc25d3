"""A WordPiece vocabulary on disk: `vocab.txt`, or the `tokenizer.json` of the tokenizers library."""

import json
from pathlib import Path

from amc_models.errors import InputError

NAMES = ("vocab.txt", "tokenizer.json")


def vocabulary_file(path: str | Path) -> Path:
    """The vocabulary's file, given by itself or by its folder. Raises InputError where there is none."""
    path = Path(path)
    candidates = [path / name for name in NAMES] if path.is_dir() else [path]
    for file in candidates:
        if file.is_file():
            return file
    raise InputError(f"{path}: no vocabulary there; give a vocab.txt with one token a line, or its folder")


def read_vocabulary(path: str | Path) -> list[str]:
    """Tokens in the order of their ids."""
    file = vocabulary_file(path)
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix != ".json":
            # Not splitlines: a vocabulary may hold other characters that end a line.
            return text.removesuffix("\n").split("\n")
        ids: dict[str, int] = json.loads(text)["model"]["vocab"]
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError("ids with gaps")
        return sorted(ids, key=ids.__getitem__)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: cannot be read as a WordPiece vocabulary; give a vocab.txt") from error
