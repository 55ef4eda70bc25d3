"""Servers that several files of tests share: they take long to start on a busy machine."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow_servers import PASSWORD, USER, PostgreSQL, Server


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Server]]:
    """`sqlite`, on a small disk where we may mount one; `postgres`, which asks for a password, where there is one."""
    with ExitStack() as stack:
        # Not in folders of pytest's: those are closed to the user that PostgreSQL must run as.
        small, large = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amc-test-"))) for _ in range(2)
        )
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)]
        if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            stack.callback(subprocess.run, ["umount", "--lazy", str(small)], check=False)
        started = {"sqlite": Server(small, f"sqlite:///{small}/server.db", auth=False)}
        if (programs := PostgreSQL.installed()) is not None:
            database = PostgreSQL(large / "database", programs)
            database.start()
            stack.callback(database.stop)
            started["postgres"] = Server(large, database.uri, auth=True)
        for server in started.values():
            stack.callback(server.kill)
            server.begin()
        for server in started.values():
            server.wait()
        yield started


@pytest.fixture
def sqlite_server(servers: dict[str, Server]) -> Server:
    return servers["sqlite"]


@pytest.fixture
def postgres_server(servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch) -> Server:
    if "postgres" not in servers:
        pytest.skip("no PostgreSQL here (initdb); install the package postgresql")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    return servers["postgres"]


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the servers."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def small_disk(sqlite_server: Server) -> Path:
    """The disk of the server on SQLite, small enough to be filled."""
    if not os.path.ismount(sqlite_server.folder):
        pytest.skip("no small disk here: only root may mount one")
    return sqlite_server.folder
