"""Spec files in a folder of their own, which is also the working directory."""

import textwrap
from pathlib import Path

import pytest
from spec_files import BASE, Write


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a YAML file, by a path relative to the working directory."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def base(write: Write) -> Path:
    return write("base.yaml", BASE)
