"""What a command says of its workers' storage, which they cannot say themselves."""

from pathlib import Path

from amc_platform.search.crew import Crew
from amc_platform.spec import ClusterSpec


def test_storage_that_is_away_is_told_once_each_time(tmp_path: Path) -> None:
    told: list[str] = []
    with Crew(ClusterSpec(storage_timeout_s=90), tmp_path / "runs", told.append) as crew:
        # No worker has said anything yet.
        assert (crew.ended(), told) == ([], [])
        lines, kept = crew.home / "progress.log", tmp_path / "kept"
        lines.write_text("step 1\n")
        crew.ended()
        for _ in range(2):
            crew.home.rename(kept)
            crew.ended()
            crew.ended()
            kept.rename(crew.home)
            crew.ended()
    away = f"{crew.home}: cannot be read; training waits for its storage, at most 90 s"
    assert told == ["step 1", away, away]
