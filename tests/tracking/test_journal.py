"""The journal: what is written is what is read, whatever happens to the writer."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.tracking import Journal, history
from amc_platform.tracking.journal import JOURNAL
from amc_platform.tracking.reader import JournalReader, journal_head


def values(folder: Path, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in history(folder).get(key, [])]


def next_steps(reader: JournalReader) -> list[int]:
    batch = reader.next_batch()
    assert batch is not None
    return [point.step for point in batch.points]


def test_every_value_comes_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "trial") as journal:
        journal.metrics(1, {"train/loss": 0.1, "train/lr": 1e-300})
        journal.metrics(2, {"train/loss": math.inf, "train/lr": -math.inf})
        journal.metrics(3, {"train/loss": math.nan})
    assert values(tmp_path / "trial", "train/lr") == [(1, 1e-300), (2, -math.inf)]
    losses = values(tmp_path / "trial", "train/loss")
    assert losses[:2] == [(1, 0.1), (2, math.inf)]
    assert losses[2][0] == 3
    assert math.isnan(losses[2][1])
    for line in (tmp_path / "trial" / JOURNAL).read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_a_resumed_training_counts_once_and_first(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for step in (10, 20, 30):
            journal.metrics(step, {"loss": float(step)})
    with Journal(tmp_path) as journal:  # resumed from the checkpoint of step 10
        for step in (20, 30, 40):
            journal.metrics(step, {"loss": step + 0.5})
    assert values(tmp_path, "loss") == [(10, 10.0), (20, 20.0), (30, 30.0), (40, 40.5)]


def test_a_torn_line_is_left_out_and_cut_off(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.metrics(1, {"loss": 1.0})
    head = journal_head(tmp_path / JOURNAL)
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"type":"metrics","step":2,"metr')
    reader = JournalReader(tmp_path / JOURNAL)
    assert next_steps(reader) == [1]
    assert reader.next_batch() is None
    with Journal(tmp_path) as journal:
        journal.metrics(2, {"loss": 2.0})
    assert next_steps(reader) == [2]
    assert reader.damaged == 0
    assert (tmp_path / JOURNAL).read_bytes().startswith(whole)
    assert journal_head(tmp_path / JOURNAL) == head


def test_a_long_torn_line_without_any_newline_leaves_an_empty_journal(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"x" * 200_000)
    with Journal(tmp_path) as journal:
        journal.metrics(1, {"loss": 1.0})
    assert values(tmp_path, "loss") == [(1, 1.0)]


def test_a_killed_writer_loses_nothing_it_wrote(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from amc_platform.tracking.journal import Journal
        journal = Journal(sys.argv[1])
        for step in range(10**9):
            journal.metrics(step, {"loss": step / 7})
            if step % 100 == 0:
                print(step, flush=True)
    """)
    writer = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(20)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    said = max([said, *map(int, writer.communicate()[0].split())])
    steps = values(tmp_path, "loss")
    assert steps == [(step, step / 7) for step in range(len(steps))]
    assert len(steps) > said


def test_a_damaged_line_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.metrics(1, {"loss": 1.0})
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'\x00\x00\xff\n["a list"]\n{"type":"metrics"}\n{"type":"a later kind"}\n')
    with Journal(tmp_path) as journal:
        journal.metrics(2, {"loss": 2.0})
    reader = JournalReader(tmp_path / JOURNAL)
    assert next_steps(reader) == [1, 2]
    assert reader.damaged == 3


def test_batches_are_bounded_and_end_where_they_can_be_taken_up(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for step in range(25):
            journal.metrics(step, {"loss": float(step)})
        journal.tags({"a": "b"})
        journal.metrics(3, {"loss": -1.0})
        journal.metrics(99, {"loss": 99.0})
    reader = JournalReader(tmp_path / JOURNAL, batch_points=10)
    batches = list(iter(reader.next_batch, None))
    assert [len(batch.points) for batch in batches] == [10, 10, 5, 0, 1]
    assert [batch.event is None for batch in batches] == [True, True, True, False, True]
    assert batches[-1].end == (tmp_path / JOURNAL).stat().st_size
    for batch, after in itertools.pairwise(batches):
        assert JournalReader(tmp_path / JOURNAL, batch.end, batch_points=10).next_batch() == after


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("val/refcoco+/pointing", "'val/refcoco_plus/pointing'"),
        ("a%b", "'a_b'"),
        ("/a", "clean relative name"),
        ("a//b", "clean relative name"),
        ("", "clean relative name"),
        ("x" * 251, "at most 250"),
    ],
)
def test_names_that_mlflow_refuses_are_refused_at_once(tmp_path: Path, name: str, said: str) -> None:
    with Journal(tmp_path) as journal, pytest.raises(InputError, match=said):
        journal.metrics(1, {name: 1.0})
    assert values(tmp_path, name) == []


def test_an_artifact_must_be_there_and_inside(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("x")
    with Journal(tmp_path / "trial") as journal:
        for path in ("absent.txt", "../outside.txt", tmp_path / "outside.txt"):
            with pytest.raises(InputError, match="inside"):
                journal.artifact(path)


def test_a_folder_that_cannot_be_made_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "file")


def test_a_full_device_is_a_plain_error() -> None:
    journal = Journal.__new__(Journal)
    journal.path = Path("/dev/full")
    journal._storage = None
    journal._file = os.open("/dev/full", os.O_WRONLY)
    with journal, pytest.raises(InputError, match="no space left on the device; free some"):
        journal.metrics(1, {"loss": 1.0})
