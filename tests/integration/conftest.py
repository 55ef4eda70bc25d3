"""Servers that several files of tests share: they take long to start on a busy machine."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mlflow_servers import DEPLOYMENT, USER, DeployedServer, ObjectStore, PostgreSQL, Server


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Server]]:
    """`sqlite`, on a small disk where we may mount one; `postgres`, as infra/mlflow starts it, where there is one."""
    with ExitStack() as stack:
        # Not in folders of pytest's: those are closed to the user that PostgreSQL must run as.
        small, large = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amc-test-"))) for _ in range(2)
        )
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)]
        if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            stack.callback(subprocess.run, ["umount", "--lazy", str(small)], check=False)
        started = {"sqlite": Server(small, f"sqlite:///{small}/server.db")}
        if (programs := PostgreSQL.installed()) is not None:
            objects = ObjectStore(large)
            stack.callback(objects.stop)
            subprocess.run([DEPLOYMENT / "secrets.sh", large / "secrets"], check=True, capture_output=True)
            database = PostgreSQL(large / "database", programs)
            started["postgres"] = server = DeployedServer(large, database.place, objects.uri)
            database.start(server.secret("postgres_password"))
            stack.callback(database.stop)
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
def postgres_server(servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch) -> DeployedServer:
    server = servers.get("postgres")
    if not isinstance(server, DeployedServer):
        pytest.skip("no PostgreSQL here (initdb); install the package postgresql")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", server.secret("mlflow_client_password"))
    return server


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


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray of several nodes on loopback: so far its head, with one core."""
    # A node that dies is missed after seconds.
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    from ray.cluster_utils import Cluster

    # Without a port of its own a second Ray beside this one would log that 8265 is taken, and leave a socket open.
    head = {"num_cpus": 1, "include_dashboard": False, "dashboard_port": None}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()
