"""The follower, on the JSONL tracker and on trackers that fail."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from amc_models.errors import InputError
from amc_platform.tracking import Journal, JournalFollower, ParentRun, TrialRun, open_tracker
from amc_platform.tracking.events import Ending, Point
from amc_platform.tracking.jsonl_tracker import JsonlTracker
from amc_platform.tracking.stream import TrialStream
from amc_platform.tracking.tracker import RefusedError, Run

PARENT = ParentRun("amc/a", "name: a\n", "c0ffee", {"git.sha": "abc"})


class Recorder(JsonlTracker):
    """Keeps besides every point it was given, and asks `before` whether to fail first."""

    def __init__(self, path: Path, before: Callable[[Sequence[Point]], None] = lambda points: None) -> None:
        super().__init__(path)
        self.points: list[tuple[str, int, float]] = []
        self._before = before

    def log_metrics(self, run: Run, points: Sequence[Point]) -> None:
        self._before(points)
        self.points += [(point.key, point.step, point.value) for point in points]
        super().log_metrics(run, points)


def trial(folder: Path, identity: str = "t0") -> TrialRun:
    return TrialRun(folder, f"amc {identity}", identity, {"training.lr": "0.1"}, {"seed": "0"})


def follower(tracker: Any, **options: Any) -> JournalFollower:
    return JournalFollower(tracker, PARENT, poll_s=0.01, close_timeout_s=60, **options)


def write(folder: Path, steps: Sequence[int], status: Ending | None = "FINISHED") -> None:
    with Journal(folder) as journal:
        for step in steps:
            journal.metrics(step, {"loss": step / 2})
        if status:
            journal.status(status)


def lines(path: Path) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in map(json.loads, path.read_text().splitlines())}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_run_is_recorded_whole(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "t0"
    tracker = open_tracker("jsonl", None, "amc/scenes/quick", tmp_path)
    with follower(tracker) as following:
        following.follow(trial(folder))
        with Journal(folder) as journal:
            (folder / "spec.yaml").write_text("seed: 0\n")
            (folder / "gallery").mkdir()
            journal.params({"model.parameters": 12})
            journal.metrics(10, {"loss": 0.5, "lr": 1.0})
            journal.metrics(20, {"loss": float("nan")})
            journal.tags({"world_size": 2})
            journal.artifact("gallery", "gallery/step_20")
            journal.status("FINISHED")
        (tmp_path / "report.md").write_text("# done")
        following.parent_artifact(tmp_path / "report.md")
    assert following.close() == []
    runs = lines(tmp_path / "scenes-quick" / "runs.jsonl")
    run, parent = runs["amc t0"], runs["amc/a"]
    assert run["run_id"] == following.run_id("t0")
    assert run["params"] == {"training.lr": "0.1", "model.parameters": "12"}
    assert run["metrics"] == {"loss": {"step": 20, "value": "nan"}, "lr": {"step": 10, "value": 1.0}}
    assert run["tags"]["amc.identity"] == "t0"
    assert (run["tags"]["seed"], run["tags"]["world_size"]) == ("0", "2")
    assert [(Path(a["path"]).name, a["to"]) for a in run["artifacts"]] == [
        ("spec.yaml", ""),
        ("gallery", "gallery/step_20"),
    ]
    assert (run["status"], run["parent"]) == ("FINISHED", parent["run_id"])
    assert [Path(artifact["path"]).name for artifact in parent["artifacts"]] == ["spec.yaml", "report.md"]
    assert (parent["status"], parent["tags"]["amc.spec_hash"]) == ("FINISHED", "c0ffee")


def test_the_same_command_again_sends_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "t0"
    given: list[tuple[str, int, float]] = []
    ids = set[str | None]()
    commands: list[tuple[Sequence[int], Ending | None]] = [
        (range(5), None),
        (range(3, 9), "FINISHED"),
        ((), None),
    ]
    for steps, status in commands:
        if steps:
            write(folder, steps, status)
        tracker = Recorder(tmp_path / "runs.jsonl")
        with follower(tracker) as following:
            following.follow(trial(folder))
        assert following.close() == []
        given += tracker.points
        ids.add(following.run_id("t0"))
        assert lines(tmp_path / "runs.jsonl")["amc t0"]["status"] == (
            status or "FINISHED" if given[5:] else "KILLED"
        )
    assert given == [("loss", step, step / 2) for step in range(9)]
    assert len(ids) == 1


def test_a_trial_started_over_gets_a_new_run(tmp_path: Path) -> None:
    ids: list[str | None] = []
    for name in ("first", "second"):
        write(tmp_path / name, range(3))
        tracker = Recorder(tmp_path / "runs.jsonl")
        with follower(tracker) as following:
            following.follow(trial(tmp_path / name))
        assert len(tracker.points) == 3
        ids.append(following.run_id("t0"))
    assert ids[0] != ids[1]


def test_a_store_that_lost_the_run_gets_everything_again(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(4))
    for _ in range(2):
        tracker = Recorder(tmp_path / "runs.jsonl")
        with follower(tracker) as following:
            following.follow(trial(tmp_path / "t0"))
        assert len(tracker.points) == 4
        (tmp_path / "runs.jsonl").unlink()


def test_a_crash_between_sending_and_remembering_sends_the_same_points(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(4), None)
    tracker = Recorder(tmp_path / "runs.jsonl")
    parent = Run("p")

    class Crash(BaseException):
        """What kill -9 leaves behind: nothing after it ran."""

    class Dying(TrialStream):
        def _remember(self) -> None:
            if tracker.points:
                raise Crash
            super()._remember()

    with pytest.raises(Crash):
        Dying(trial(tmp_path / "t0"), tracker, print).pump(parent, lambda: False)
    first, tracker.points = tracker.points, []
    TrialStream(trial(tmp_path / "t0"), tracker, print).pump(parent, lambda: False)
    assert tracker.points == first


def test_trouble_is_tried_again_and_forgotten_when_it_is_over(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(10))
    down = threading.Event()
    down.set()

    def before(points: Sequence[Point]) -> None:
        if down.is_set():
            raise ConnectionError("http://me:secret@host is\naway")

    tracker = Recorder(tmp_path / "runs.jsonl", before)
    with follower(tracker) as following:
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
    with follower(tracker) as following:
        for name in ("t0", "t1", "t2", "t3", "t4"):
            following.follow(trial(tmp_path / name, name))
        begun = time.monotonic()
        (line,) = following.close(timeout_s=0.3)
        assert time.monotonic() - begun < 5
    assert line == following.close()[0]
    assert line.startswith("not all of amc t0, amc t1, amc t2 and ")
    assert line.endswith(
        f"{tmp_path}/runs.jsonl (no answer in time); "
        "the journals keep it, and the next run of the same command sends it"
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
        with follower(tracker) as following:
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
    with follower(tracker) as following:
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
    with follower(tracker) as following:
        following.follow(trial(tmp_path / "t0"))
        eventually(lambda: following.trouble is not None)
        (line,) = following.close(timeout_s=0.3)
    assert "not all of amc t0, spec.yaml could be sent" in line
    assert "(no space left)" in line
    assert len(tracker.points) == 3
    assert lines(tmp_path / "runs.jsonl")["amc t0"]["status"] == "FINISHED"
    (tmp_path / "t0" / "gone.txt").unlink()
    with follower(Recorder(tmp_path / "runs.jsonl")) as following:
        following.follow(trial(tmp_path / "t0"))
    assert following.close() == [f"{tmp_path}/t0/gone.txt: was gone before it could be sent"]
    artifacts = lines(tmp_path / "runs.jsonl")["amc t0"]["artifacts"]
    assert [Path(artifact["path"]).name for artifact in artifacts] == ["a.txt"]


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (None, "FINISHED", ("FINISHED", "FINISHED")),
        (None, "FAILED", ("FAILED", "FAILED")),
        (None, None, ("KILLED", "FINISHED")),
        (KeyboardInterrupt, None, ("KILLED", "KILLED")),
        (RuntimeError, None, ("KILLED", "FAILED")),
    ],
)
def test_runs_end_as_they_ended(
    tmp_path: Path, error: type[BaseException] | None, status: Ending | None, expected: tuple[str, str]
) -> None:
    write(tmp_path / "t0", range(3), status)

    def command() -> None:
        with follower(Recorder(tmp_path / "runs.jsonl")) as following:
            following.follow(trial(tmp_path / "t0"))
            if error:
                raise error

    if error:
        with pytest.raises(error):
            command()
    else:
        command()
    runs = lines(tmp_path / "runs.jsonl")
    assert (runs["amc t0"]["status"], runs["amc/a"]["status"]) == expected


def test_no_tracker_keeps_no_trace_and_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(3))
    with follower(open_tracker("none", None, "amc/a", tmp_path)) as following:
        following.follow(trial(tmp_path / "t0"))
    assert following.close() == []
    assert following.run_id("t0") is None
    assert [path.name for path in (tmp_path / "t0").iterdir()] == ["journal.jsonl"]
    tracker = Recorder(tmp_path / "runs.jsonl")
    with follower(tracker) as following:
        following.follow(trial(tmp_path / "t0"))
    assert len(tracker.points) == 3


def test_names_no_tracker_takes_are_refused_when_the_trial_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="parameter 'a%b'"):
        TrialRun(tmp_path, "a", "t0", {"a%b": "1"})
