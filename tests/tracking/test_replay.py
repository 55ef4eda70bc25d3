"""What is left on disk, and sent by `replay`."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from followed import PARENT, Recorder, follower, lines, trial, write

from amc_models.errors import InputError
from amc_platform.tracking import Destination, Journal, Outbox, following
from amc_platform.tracking.replay import outboxes, replay, unsent_trials
from amc_platform.tracking.stream import Sent

JSONL = Destination("jsonl", None, "amc/a")


class Down(Recorder):
    """Takes nothing."""

    def open_run(self, request: object) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise ConnectionError("down")


def test_what_an_outage_left_is_sent_once(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(4), "FAILED")
    with Journal(tmp_path / "t0") as journal:
        (tmp_path / "t0" / "best").mkdir()
        journal.artifact("best", "pictures")
        journal.model("best", name="amc-a", scores={"scenes": 61.5}, measured="m", steps=3, upload=True)
    write(tmp_path / "t1", range(2))
    (tmp_path / "report.md").write_text("# done")
    with follower(tmp_path, Down(tmp_path / "unused.jsonl")) as command:
        for name in ("t0", "t1"):
            command.follow(trial(tmp_path / name, name))
        command.parent_artifact(tmp_path / "report.md")
        (warning,) = command.close(timeout_s=0.2)
    assert warning.startswith("not all of amc t0, amc t1, spec.yaml and 1 more could be sent")

    (outcome,) = replay(tmp_path, 30)
    assert (outcome.experiment, outcome.runs, outcome.warnings) == ("amc/a", 2, ())
    assert outcome.sent == Sent(points=6, artifacts=3, models=1)
    runs = lines(tmp_path / "a" / "runs.jsonl")
    assert [runs[name]["status"] for name in ("amc t0", "amc t1", "amc/a")] == [
        "KILLED",
        "FINISHED",
        "FINISHED",
    ]
    assert runs["amc t0"]["models"][0]["scores"] == {"scenes": 61.5}
    assert [Path(artifact["path"]).name for artifact in runs["amc/a"]["artifacts"]] == [
        "spec.yaml",
        "report.md",
    ]
    assert list(replay(tmp_path, 30)) == []


def test_what_a_killed_command_left_is_ended_as_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import json, sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from followed import PARENT, trial
        from amc_platform.tracking import Clock, Destination, Journal, following
        output = Path(sys.argv[1])
        with following(output, Destination("jsonl", None, "amc/a"), PARENT, Clock(poll_s=0.01)) as follower:
            with Journal(output / "t0") as journal:
                follower.follow(trial(output / "t0"))
                journal.metrics(1, {"loss": 1.0})
                memory, written = output / "t0" / "tracked.json", journal.path.stat().st_size
                while not memory.exists() or json.loads(memory.read_text())["offset"] < written:
                    time.sleep(0.01)
                print("sent", flush=True)
                time.sleep(600)
    """)
    command = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, Path(__file__).parent], stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "sent\n"
    said: list[str] = []
    assert list(replay(tmp_path, 30, said.append)) == []
    assert said == ["amc/a: a command is at it, and sends by itself"]
    assert lines(tmp_path / "a" / "runs.jsonl")["amc t0"]["status"] == "RUNNING"
    os.kill(command.pid, signal.SIGKILL)
    command.communicate()

    (outcome,) = replay(tmp_path, 30)
    assert (outcome.runs, outcome.sent.points) == (1, 0)
    runs = lines(tmp_path / "a" / "runs.jsonl")
    assert [(runs[name]["status"], runs[name]["error"]) for name in ("amc t0", "amc/a")] == [
        ("KILLED", "interrupted: the command is gone"),
        ("KILLED", "interrupted: the command is gone"),
    ]
    assert list(replay(tmp_path, 30)) == []


def test_an_output_folder_may_be_moved(tmp_path: Path) -> None:
    with following(tmp_path / "here", JSONL, PARENT) as command:
        command.follow(trial(tmp_path / "here" / "trials" / "t0"))
    write(tmp_path / "here" / "trials" / "t0", range(3))
    (tmp_path / "here").rename(tmp_path / "there")
    (box,) = outboxes(tmp_path / "there")
    assert unsent_trials(box) == ["t0"]
    (outcome,) = replay(tmp_path / "there", 30)
    assert outcome.sent == Sent(points=3)
    assert lines(tmp_path / "there" / "a" / "runs.jsonl")["amc t0"]["metrics"]["loss"]["step"] == 2


def test_a_torn_line_of_the_outbox_costs_only_itself(tmp_path: Path) -> None:
    with Outbox.opened(tmp_path, JSONL, PARENT) as box:
        box.follow(trial(tmp_path / "t0", "t0"))
    with box.path.open("ab") as file:
        file.write(b'{"type":"trial","fold')
    with Outbox.opened(tmp_path, JSONL, PARENT) as box:
        for identity in ("t0", "t1"):
            box.follow(trial(tmp_path / identity, identity))
    again = Outbox(box.path)
    assert list(again.trials.values()) == [trial(tmp_path / name, name) for name in ("t0", "t1")]
    assert again.parent == PARENT
    kinds = [json.loads(line)["type"] for line in box.path.read_text().splitlines() if line.endswith("}")]
    assert kinds.count("trial") == 2


def test_nothing_is_replayed_that_is_recorded_nowhere(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(3))
    with following(tmp_path, Destination("none", None, "amc/a"), PARENT) as command:
        command.follow(trial(tmp_path / "t0"))
    assert list(replay(tmp_path, 30)) == []


def test_an_output_that_cannot_be_written_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"), following(tmp_path / "file", JSONL, PARENT):
        pass
