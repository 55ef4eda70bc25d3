"""The Dockerfiles. Docker is not here, so nothing is built: hadolint reads them, and so do these tests."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
from manifests import INFRA, ROOT

DOCKERFILES = sorted(INFRA.rglob("Dockerfile"))
by_name = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its arguments on one line and without comments."""
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def test_there_are_two() -> None:
    assert [path.parent.name for path in DOCKERFILES] == ["image", "mlflow"]


@by_name
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM ubuntu\nRUN sudo ls\n")
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert {"DL3006", "DL3004"} <= set(re.findall(r"DL\d{4}", done.stdout))


@by_name
def test_bases_are_pinned_by_version(path: Path) -> None:
    bases = [rest.split()[0] for word, rest in instructions(path) if word == "FROM"]
    assert bases
    # NAME:VERSION without a registry's host.
    assert [base for base in bases if not re.fullmatch(r"(\w+/)?\w+:\d+\.\d+\.\d+-[\w.-]+", base)] == []


@by_name
def test_the_last_user_is_not_root_and_is_a_number(path: Path) -> None:
    users = [rest for word, rest in instructions(path) if word == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


@by_name
def test_versions_come_from_the_constraints(path: Path) -> None:
    installs = [
        command
        for word, rest in instructions(path)
        if word == "RUN"
        for command in rest.split("&&")
        if "pip install" in command and "--no-deps" not in command
    ]
    assert installs
    assert [command for command in installs if "--constraint" not in command] == []
    assert "index-url" not in path.read_text(encoding="utf-8")


def test_the_cluster_image_starts_closed() -> None:
    (environment,) = (rest for word, rest in instructions(INFRA / "image" / "Dockerfile") if word == "ENV")
    assert {"RAY_AUTH_MODE=token", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false"} <= set(environment.split())


def test_nothing_secret_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"  # what is sent is listed
    listed = [rule[1:] for rule in rules if rule.startswith("!")]
    missing = [name for name in listed if not (ROOT / name).exists()]
    assert missing == []
    # Every file that an image copies is among them.
    for path in DOCKERFILES:
        copies = [
            rest.split()[:-1] for word, rest in instructions(path) if word == "COPY" and "--from" not in rest
        ]
        sources = {source for words in copies for source in words} - {"."}
        assert [
            source for source in sources if not any(fnmatch.fnmatch(source, name) for name in listed)
        ] == []
