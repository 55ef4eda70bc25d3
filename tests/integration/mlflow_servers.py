"""Real MLflow servers, on SQLite and on PostgreSQL, and a proxy that answers 500 in front of them."""

import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DEPLOYMENT = Path(__file__).resolve().parents[2] / "infra" / "mlflow"
USER = "amc"
"""Who tracks: no administrator."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Server:
    """An `mlflow server` in a process group of its own, on one port and one database for all its lives."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start the process, without waiting for it."""
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=os.environ | environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def command(self) -> list[str]:
        return [
            str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1", "--serve-artifacts",
            "--host", "127.0.0.1", "--port", str(self.port),
            "--backend-store-uri", self.database,
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip

    def wait(self) -> None:
        deadline = time.monotonic() + 300
        while not self.healthy():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.2)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class DeployedServer(Server):
    """A server that asks for a password, started as infra/mlflow starts it: by `serve.py`, with secrets in files.

    Its database is PostgreSQL, its artifacts are in an object store.
    """

    def __init__(self, folder: Path, database: str, objects: str) -> None:
        super().__init__(folder, database)
        self.objects = objects
        self.secrets = folder / "secrets"

    def begin(self) -> None:
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        super().begin()

    def command(self) -> list[str]:
        return [
            sys.executable, str(DEPLOYMENT / "serve.py"),
            "--secrets", str(self.secrets), "--state", str(self.folder / "state"),
            "--database", self.database, "--objects", self.objects,
            "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip

    def wait(self) -> None:
        super().wait()
        command = [
            sys.executable,
            DEPLOYMENT / "user.py",
            USER,
            "--secrets",
            self.secrets,
            "--server",
            self.uri,
        ]
        subprocess.run(command, input=self.secret("mlflow_client_password"), text=True, check=True)

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()


class ObjectStore:
    """A server with S3's interface on loopback, empty at first; it takes any keys."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(self.port)]
        with (folder / "objects.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class PostgreSQL:
    """A database server of its own in `folder`; PostgreSQL refuses to run as root, so that root becomes nobody."""

    @staticmethod
    def installed() -> Path | None:
        """The folder of its server programs, None where they are not installed."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        on_path = shutil.which("initdb")
        return found[-1].parent if found else Path(on_path).parent if on_path else None

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.port = free_port()
        self.place = f"amc@127.0.0.1:{self.port}/postgres"

    def start(self, password: str) -> None:
        self.folder.mkdir()
        (self.folder / "password").write_text(password)
        if os.geteuid() == 0:
            self.folder.parent.chmod(0o711)
            shutil.chown(self.folder, "nobody")
        data = self.folder / "data"
        self._run(
            "initdb",
            "-D",
            str(data),
            "-U",
            "amc",
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(self.folder / "password"),
            "-E",
            "UTF8",
            "--no-sync",
        )
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", str(data), "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            text=True,
            check=False,
            **user,
        )
        assert done.returncode == 0, done.stderr


class Proxy:
    """Passes requests on to a server, and answers some with 500: half of these before the server saw them, half after.

    The second is the harder one: the server has done what was asked, and the client does not know.
    """

    def __init__(self, target: int) -> None:
        self.failing = 0.0
        """Share of the requests that are answered with 500."""
        self.refused = self.swallowed = 0
        self._random = random.Random(0)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                drawn = proxy._random.random()
                status, headers, answer = 500, [("Content-Type", "text/plain")], b"proxy"
                if drawn < proxy.failing / 2:
                    proxy.refused += 1
                else:
                    upstream = http.client.HTTPConnection("127.0.0.1", target, timeout=60)
                    kept = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
                    upstream.request(self.command, self.path, body, kept)
                    response = upstream.getresponse()
                    passed = response.read()
                    upstream.close()
                    if drawn < proxy.failing:
                        proxy.swallowed += 1
                    else:
                        status, answer = response.status, passed
                        headers = [(k, v) for k, v in response.getheaders() if k.lower() in _KEPT]
                self.send_response(status)
                for key, value in headers:
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


_KEPT = ("content-type", "content-disposition")
