"""The tracking server as infra/mlflow starts it: who is let in, to what, and where its passwords are to be seen."""

import base64
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import pytest
from mlflow_servers import DEPLOYMENT, USER, DeployedServer
from tracked import client_of

SECRETS = (
    "postgres_password",
    "mlflow_admin_password",
    "mlflow_secret_key",
    "mlflow_client_password",
    "s3_access_key",
    "s3_secret_key",
)


def status(
    server: DeployedServer, path: str, method: str = "GET", *, user: str = "", password: str = ""
) -> int:
    """The server's answer to one request, with a user's name and password or without."""
    request = urllib.request.Request(f"{server.uri}{path}", method=method)
    if method != "GET":
        request.data = b"{}"
        request.add_header("Content-Type", "application/json")
    if user:
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def endpoints() -> list[tuple[str, str]]:
    """Every path of MLflow's API with a method, parameters filled in."""
    with warnings.catch_warnings():
        # MLflow's server uses what SQLAlchemy 2.1 calls deprecated.
        warnings.simplefilter("ignore")
        from mlflow.server.handlers import get_endpoints

    return sorted(
        {
            (re.sub(r"<[^>]+>", "1", path), method)
            for path, _, methods in get_endpoints()
            for method in methods
            if method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
        }
    )


def test_a_stranger_is_refused_everywhere(postgres_server: DeployedServer) -> None:
    paths = endpoints()
    assert len(paths) > 100
    answers = {path: status(postgres_server, *path) for path in paths}
    # What clients ask before they log in: which features the server has, and on what kind of store.
    known = {(f"/{prefix}/3.0/mlflow/server-info", "GET"): 200 for prefix in ("api", "ajax-api")}
    assert {path: code for path, code in answers.items() if code != 401} == known
    # Beside that API: pages, artifacts, GraphQL, traces, users.
    for path, method in [
        ("/", "GET"),
        ("/graphql", "POST"),
        ("/v1/traces", "POST"),
        ("/get-artifact?path=x&run_uuid=1", "GET"),
        ("/model-versions/get-artifact?path=x&name=1&version=1", "GET"),
        ("/api/2.0/mlflow-artifacts/artifacts/1/x", "PUT"),
        ("/ajax-api/2.0/mlflow/upload-artifact?run_uuid=1&path=x", "POST"),
        ("/api/2.0/mlflow/users/create", "POST"),
        ("/signup", "GET"),
    ]:
        assert status(postgres_server, path, method) == 401, path
    assert status(postgres_server, "/version") == 401
    assert status(postgres_server, "/health") == 200  # what a probe asks


def test_a_wrong_password_is_refused_and_another_host_name_too(postgres_server: DeployedServer) -> None:
    path = "/api/2.0/mlflow/users/get?username=" + USER
    right = postgres_server.secret("mlflow_client_password")
    assert status(postgres_server, path, user=USER, password=right) == 200
    assert status(postgres_server, path, user=USER, password=right + "x") == 401
    assert status(postgres_server, path, user="admin", password=right) == 401
    request = urllib.request.Request(postgres_server.uri + path, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    caught.value.close()
    assert caught.value.code == 403


def test_a_user_tracks_but_administers_nothing(postgres_server: DeployedServer, tmp_path: Path) -> None:
    client = client_of(postgres_server.uri)
    run = client.create_run(client.create_experiment("infra/of a user"))
    client.log_metric(run.info.run_id, "train/loss", 0.5)
    (tmp_path / "note.txt").write_text("through the server into the object store")
    client.log_artifact(run.info.run_id, str(tmp_path / "note.txt"))
    (tmp_path / "back").mkdir()
    back = client.download_artifacts(run.info.run_id, "note.txt", str(tmp_path / "back"))
    assert Path(back).read_text() == "through the server into the object store"
    assert client.get_run(run.info.run_id).data.metrics == {"train/loss": 0.5}
    password = postgres_server.secret("mlflow_client_password")
    for verb, method in (("create", "POST"), ("delete", "DELETE"), ("update-admin", "PATCH")):
        path = f"/api/2.0/mlflow/users/{verb}"
        assert status(postgres_server, path, method, user=USER, password=password) == 403, verb


def test_passwords_are_in_no_process_list_and_no_log(postgres_server: DeployedServer) -> None:
    secrets = {name: postgres_server.secret(name) for name in SECRETS}
    assert postgres_server.process is not None
    group = os.getpgid(postgres_server.process.pid)
    commands: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                commands.append((folder / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    log = (postgres_server.folder / "server.log").read_text()
    assert any("mlflow server" in command and postgres_server.database in command for command in commands)
    seen = [name for name, secret in secrets.items() if any(secret in text for text in [*commands, log])]
    assert seen == []
    private = {
        path.name: path.stat().st_mode & 0o777 for path in (postgres_server.folder / "state").iterdir()
    }
    assert private == {"auth.ini": 0o600, "aws": 0o600, "pgpass": 0o600}


def test_the_database_refuses_a_stranger(postgres_server: DeployedServer) -> None:
    import psycopg2

    place = postgres_server.database.rpartition("@")[2]
    address, name = place.split("/")
    host, port = address.split(":")
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host=host, port=port, user="amc", dbname=name, password="guessed")


def test_a_second_call_changes_the_password(postgres_server: DeployedServer) -> None:
    server = postgres_server
    path = "/api/2.0/mlflow/users/get?username=guest"
    for password, told in (("one" * 5, "user guest: made\n"), ("two" * 5, "user guest: password changed\n")):
        command = [sys.executable, DEPLOYMENT / "user.py", "guest", "--secrets", server.secrets]
        done = subprocess.run(
            [*command, "--server", server.uri], input=password, text=True, check=True, capture_output=True
        )
        assert done.stdout == told
        assert status(server, path, user="guest", password=password) == 200
