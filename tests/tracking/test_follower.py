"""The follower, on the JSONL tracker."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from followed import Recorder, follower, lines, trial, write

from amc_models.errors import InputError
from amc_platform.tracking import Journal, TrialRun, open_tracker
from amc_platform.tracking.events import Ending
from amc_platform.tracking.stream import TrialStream
from amc_platform.tracking.tracker import Run


def test_a_run_is_recorded_whole(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "t0"
    tracker = open_tracker("jsonl", None, "amc/scenes/quick", tmp_path)
    with follower(tmp_path, tracker) as following:
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
        with follower(tmp_path, tracker) as following:
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
        with follower(tmp_path, tracker) as following:
            following.follow(trial(tmp_path / name))
        assert len(tracker.points) == 3
        ids.append(following.run_id("t0"))
    assert ids[0] != ids[1]


def test_a_store_that_lost_the_run_gets_everything_again(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(4))
    for _ in range(2):
        tracker = Recorder(tmp_path / "runs.jsonl")
        with follower(tmp_path, tracker) as following:
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
        with follower(tmp_path, Recorder(tmp_path / "runs.jsonl")) as following:
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


def test_a_run_ends_with_the_error_that_ended_it_and_forgets_it_when_it_goes_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs.jsonl"

    def command(steps: range, error: Exception | None) -> None:
        with follower(tmp_path, Recorder(runs)) as following:
            following.follow(trial(tmp_path / "t0"))
            write(tmp_path / "t0", steps, None)
            if error:
                raise error

    with pytest.raises(RuntimeError):
        command(range(3), RuntimeError("worker 1 died\nof hunger"))
    failed = lines(runs)
    assert (failed["amc t0"]["status"], failed["amc t0"]["error"]) == ("FAILED", "worker 1 died of hunger")
    assert (failed["amc/a"]["status"], failed["amc/a"]["error"]) == ("FAILED", "worker 1 died of hunger")
    command(range(3, 5), None)
    killed = lines(runs)
    assert (killed["amc t0"]["status"], killed["amc t0"]["run_id"]) == ("KILLED", failed["amc t0"]["run_id"])
    assert killed["amc t0"]["error"] == "interrupted: the command that trained it is gone"
    assert (killed["amc/a"]["status"], killed["amc/a"]["error"]) == ("FINISHED", "")
    with Journal(tmp_path / "t0") as journal:
        journal.status("FAILED", "loss is nan")
    command(range(0), None)
    assert lines(runs)["amc t0"]["error"] == "loss is nan"
    write(tmp_path / "t0", range(5, 6))
    command(range(0), None)
    finished = lines(runs)["amc t0"]
    assert (finished["status"], finished["error"]) == ("FINISHED", "")


def test_a_trial_that_another_process_trains_is_left_running(tmp_path: Path) -> None:
    with Journal(tmp_path / "t0") as journal:
        journal.metrics(1, {"loss": 1.0})
        with follower(tmp_path, Recorder(tmp_path / "runs.jsonl")) as following:
            following.follow(trial(tmp_path / "t0"))
        assert following.close() == []
        assert lines(tmp_path / "runs.jsonl")["amc t0"]["status"] == "RUNNING"
    with follower(tmp_path, Recorder(tmp_path / "runs.jsonl")) as following:
        following.follow(trial(tmp_path / "t0"))
    assert lines(tmp_path / "runs.jsonl")["amc t0"]["status"] == "KILLED"


def test_no_tracker_keeps_no_trace_and_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path / "t0", range(3))
    with follower(tmp_path, open_tracker("none", None, "amc/a", tmp_path), "none") as following:
        following.follow(trial(tmp_path / "t0"))
    assert following.close() == []
    assert following.run_id("t0") is None
    assert not (tmp_path / "t0" / "tracked.json").exists()
    tracker = Recorder(tmp_path / "runs.jsonl")
    with follower(tmp_path, tracker) as following:
        following.follow(trial(tmp_path / "t0"))
    assert len(tracker.points) == 3


def test_names_no_tracker_takes_are_refused_when_the_trial_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="parameter 'a%b'"):
        TrialRun(tmp_path, "a", "t0", {"a%b": "1"})
