"""The follower, on trackers that fail."""

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from followed import Recorder, eventually, follower, lines, trial, write

from amc_platform.tracking import Journal
from amc_platform.tracking.events import Point
from amc_platform.tracking.tracker import RefusedError, Run


def test_trouble_is_tried_again_and_forgotten_when_it_is_over(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(10))
    down = threading.Event()
    down.set()

    def before(points: Sequence[Point]) -> None:
        if down.is_set():
            raise ConnectionError("http://me:secret@host is\naway")

    tracker = Recorder(tmp_path / "runs.jsonl", before)
    with follower(tmp_path, tracker) as following:
        following.follow(trial(tmp_path / "t0"))
        eventually(lambda: following.trouble is not None)
        assert following.trouble == "http://host is away"
        down.clear()
        eventually(lambda: following.trouble is None)
    assert following.close() == []
    assert tracker.points == [("loss", step, step / 2) for step in range(10)]


def test_a_tracker_that_never_answers_is_one_line_in_time(tmp_path: Path) -> None:
    def before(points: Sequence[Point]) -> None:
        time.sleep(60)

    for name in ("t0", "t1", "t2", "t3", "t4"):
        write(tmp_path / name, range(3))
    tracker = Recorder(tmp_path / "runs.jsonl", before)
    with follower(tmp_path, tracker) as following:
        for name in ("t0", "t1", "t2", "t3", "t4"):
            following.follow(trial(tmp_path / name, name))
        begun = time.monotonic()
        (line,) = following.close(timeout_s=0.3)
        assert time.monotonic() - begun < 5
    assert line == following.close()[0]
    assert line.startswith("not all of amc t0, amc t1, amc t2 and ")
    assert line.endswith(
        f"{tmp_path}/runs.jsonl (no answer in time); the journals keep it, and "
        f"`amc track replay {tmp_path}`, or the same command again, sends it"
    )


def test_a_writer_faster_than_the_tracker_keeps_back_no_other_trial(tmp_path: Path) -> None:
    with Journal(tmp_path / "busy") as journal:
        journal.metrics(0, {"busy": 0.0})
        steps = itertools.count(1)

        def before(points: Sequence[Point]) -> None:
            if points[0].key == "busy":
                journal.metrics(next(steps), {"busy": 0.0})

        write(tmp_path / "calm", range(3))
        tracker = Recorder(tmp_path / "runs.jsonl", before)
        with follower(tmp_path, tracker) as following:
            following.follow(trial(tmp_path / "busy", "busy"))
            following.follow(trial(tmp_path / "calm", "calm"))
            eventually(lambda: ("loss", 2, 1.0) in tracker.points)
            following.close(timeout_s=0.5)


def test_what_is_refused_is_named_and_holds_up_nothing(tmp_path: Path) -> None:
    def before(points: Sequence[Point]) -> None:
        if any(point.step == 13 for point in points):
            raise RefusedError("step 13 is unlucky")

    write(tmp_path / "t0", range(20))
    tracker = Recorder(tmp_path / "runs.jsonl", before)
    with follower(tmp_path, tracker) as following:
        following.follow(trial(tmp_path / "t0"))
    assert following.close() == ["amc t0: metric loss was refused (step 13 is unlucky)"]
    assert sorted(step for _, step, _ in tracker.points) == [step for step in range(20) if step != 13]


def test_artifacts_that_fail_hold_up_no_metric_and_are_kept(tmp_path: Path) -> None:
    class NoRoom(Recorder):
        def log_artifact(self, run: Run, path: Path, to: str) -> None:
            raise OSError("no space left")

    with Journal(tmp_path / "t0") as journal:
        for name in ("a.txt", "gone.txt"):
            (tmp_path / "t0" / name).write_text("x")
            journal.artifact(name)
    write(tmp_path / "t0", range(3))
    tracker = NoRoom(tmp_path / "runs.jsonl")
    with follower(tmp_path, tracker) as following:
        following.follow(trial(tmp_path / "t0"))
        eventually(lambda: following.trouble is not None)
        (line,) = following.close(timeout_s=0.3)
    assert "not all of amc t0, spec.yaml could be sent" in line
    assert "(no space left)" in line
    assert len(tracker.points) == 3
    assert lines(tmp_path / "runs.jsonl")["amc t0"]["status"] == "FINISHED"
    (tmp_path / "t0" / "gone.txt").unlink()
    with follower(tmp_path, Recorder(tmp_path / "runs.jsonl")) as following:
        following.follow(trial(tmp_path / "t0"))
    assert following.close() == [f"{tmp_path}/t0/gone.txt: was gone before it could be sent"]
    artifacts = lines(tmp_path / "runs.jsonl")["amc t0"]["artifacts"]
    assert [Path(artifact["path"]).name for artifact in artifacts] == ["a.txt"]
