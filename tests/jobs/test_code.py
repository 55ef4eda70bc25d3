"""What travels: the wheel, and what is known of the checkout that it came from."""

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.jobs.checkout import find_checkout, source_of
from amc_platform.jobs.wheel import build_wheel, unpack
from amc_platform.tracking.stamps import stamps


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init")
    (folder / "code.py").write_text("1\n")
    (folder / ".gitignore").write_text("runs/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    return folder


def test_the_wheel_holds_both_packages_and_nothing_else(repository: Path, tmp_path: Path) -> None:
    wheel = build_wheel(repository, tmp_path / "one")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "amc_models",
        "amc_platform",
        "amc_platform-0.1.0.dist-info",
    }
    assert {"amc_platform/cli/main.py", "amc_platform/reporting/page.html.j2", "amc_models/albef.py"} <= set(
        names
    )
    unpack(wheel, tmp_path / "code")
    command = [
        "python",
        "-c",
        "import amc_platform, platform; print(amc_platform.__file__, platform.system())",
    ]
    environment = {"PYTHONPATH": str(tmp_path / "code"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path / "code", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "code/amc_platform/__init__.py"), "Linux"]


def test_equal_files_make_an_equal_wheel(repository: Path, tmp_path: Path) -> None:
    digests = {
        hashlib.sha256(build_wheel(repository, tmp_path / name).read_bytes()).hexdigest()
        for name in ("a", "b")
    }
    assert len(digests) == 1


def test_a_wheel_that_cannot_be_built_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no wheel could be built"):
        build_wheel(tmp_path, tmp_path / "to")


def test_this_is_the_checkout(repository: Path) -> None:
    assert find_checkout() == repository


def test_a_clean_checkout_is_its_commit(committed: Path) -> None:
    (committed / "runs").mkdir()
    (committed / "runs" / "ignored").write_text("x")
    source = source_of(committed, allow_dirty=False)
    assert len(source.sha) == 40
    assert source.environment == {"AMC_GIT_SHA": source.sha, "AMC_GIT_DIRTY": "false"}


def test_a_dirty_checkout_is_refused_or_stamped(committed: Path) -> None:
    (committed / "new.py").write_text("2\n")
    with pytest.raises(
        InputError, match=r"differs from its commit \(new.py\); commit it, or .* --allow-dirty"
    ):
        source_of(committed, allow_dirty=False)
    untracked = source_of(committed, allow_dirty=True)
    (committed / "new.py").write_text("3\n")
    other = source_of(committed, allow_dirty=True)
    (committed / "code.py").write_text("4\n")
    changed = source_of(committed, allow_dirty=True)
    assert len({untracked.diff, other.diff, changed.diff}) == 3
    assert changed.environment == {
        "AMC_GIT_SHA": changed.sha,
        "AMC_GIT_DIRTY": "true",
        "AMC_GIT_DIFF": changed.diff,
    }
    assert source_of(committed, allow_dirty=True) == changed


def test_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no git repository with a commit"):
        source_of(tmp_path, allow_dirty=True)


def test_the_runs_of_a_job_carry_what_was_known_where_it_was_sent_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "AMC_JOB": "amc-a-1",
        "AMC_GIT_SHA": "5ha",
        "AMC_GIT_DIRTY": "true",
        "AMC_GIT_DIFF": "d",
    }.items():
        monkeypatch.setenv(name, value)
    told = stamps()
    assert [told[tag] for tag in ("job", "git.sha", "git.dirty", "git.diff")] == [
        "amc-a-1",
        "5ha",
        "true",
        "d",
    ]
