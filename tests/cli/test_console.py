"""What a verb prints, off a terminal and on one."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from amc_platform.cli import console


def test_plain_table_aligns_names_left_and_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(["row", "hard"], [["base", "7.5"], ["AMC", "81.25"]], title="scenes")
    assert capsys.readouterr().out == "scenes\nrow    hard\nbase    7.5\nAMC   81.25\n"


def test_plain_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(["row", "hard"], [])
    assert capsys.readouterr().out == "row  hard\n"


def test_plain_progress_says_every_tenth_once(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("scenes") as report:
        for done in (1, 5, 10, 19, 20):
            report(done, 20)
    assert (
        capsys.readouterr().err == "scenes: 5 of 20\nscenes: 10 of 20\nscenes: 19 of 20\nscenes: 20 of 20\n"
    )


def read_to_end(terminal: int) -> str:
    """Read until the last process on the other side has gone, which a terminal tells by an error."""
    chunks: list[bytes] = []
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            chunks.append(chunk)
    return b"".join(chunks).decode()


def test_on_a_terminal_there_is_a_bar_and_a_drawn_table(tmp_path: Path) -> None:
    arguments = ["--train", "2", "--val", "1", "--test", "2", "--unseen", "1", "--workers", "1"]
    command = [
        str(Path(sys.executable).parent / "amc"),
        "prepare",
        "scenes",
        "--out",
        "t.parquet",
        *arguments,
    ]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        printed = read_to_end(ours)
    os.close(ours)
    assert process.returncode == 0, printed
    assert "6/6" in printed
    assert "┃" in printed
