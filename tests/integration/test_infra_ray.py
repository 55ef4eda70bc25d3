"""Ray as the script for Slurm starts it: a stranger is refused, and the end is announced before it comes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_servers import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
STRANGERS = ("nobody's", "mistaken")

# What the script runs: it works, waits for SIGTERM, and still works then, as a training that writes its checkpoint.
JOB = """
import json, os, pathlib, signal, sys, threading, time
import ray
from ray._private.services import get_webui_url_from_internal_kv as dashboard

folder = pathlib.Path(sys.argv[1])
ray.init(log_to_driver=False, logging_level="error")
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())

@ray.remote(num_cpus=0.1)
def answer():
    return 42

while not dashboard():
    time.sleep(0.1)
known = {
    "answer": ray.get(answer.remote()),
    "dashboard": dashboard(),
    "address": os.environ["RAY_ADDRESS"],
    "token": os.environ["RAY_AUTH_TOKEN_PATH"],
    "pools": [node["Labels"].get("pool") for node in ray.nodes()],
}
(folder / "writing").write_text(json.dumps(known))
(folder / "writing").rename(folder / "known.json")
while not told.wait(0.2):
    pass
(folder / "saved").write_text(str(ray.get(answer.remote())))
"""
# A node where there is none of Slurm: the options away, and the rest as the first task.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
SLURM_NODEID=0 exec "$@"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slurm")


@pytest.fixture(scope="module")
def script(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "job.py").write_text(JOB)
    (folder / "srun").write_text(SRUN)
    (folder / "srun").chmod(0o755)
    job = f"test-{os.getpid()}"
    environment = os.environ | {
        "HOME": str(folder),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": job,
        "SLURM_JOB_NUM_NODES": "1",
        "AMC_HEAD_IP": "127.0.0.1",
        "AMC_RAY_PORT": str(free_port()),
    }
    command = [ROOT / "infra" / "slurm" / "amc.sbatch", sys.executable, folder / "job.py", folder]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(f"/tmp/amc-{job}", ignore_errors=True)


@pytest.fixture(scope="module")
def known(script: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    """What the job knows of its cluster, once it has worked."""

    def is_known() -> bool:
        assert script.poll() is None, (folder / "log").read_text()
        return (folder / "known.json").exists()

    wait_until(is_known, 120)
    return json.loads((folder / "known.json").read_text())


def listens(place: str) -> bool:
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def environment(token: str, home: Path) -> dict[str, str]:
    """The environment of somebody else on the same machine."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    keys = {} if token == "nobody's" else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    return mine | keys | {"HOME": str(home)}


def test_the_job_works_in_its_pool(known: dict[str, Any]) -> None:
    assert (known["answer"], known["pools"]) == (42, ["a40"])
    assert known["dashboard"].startswith("127.0.0.1:")


def test_the_token_is_this_users_alone(known: dict[str, Any]) -> None:
    token = Path(known["token"])
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(token.read_text()) == 64
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert [command for command in commands if token.read_bytes() in command] == []


@pytest.mark.parametrize(
    "path", ["/api/version", "/api/jobs/", "/api/v0/nodes", "/nodes?view=summary", "/logs"]
)
def test_the_dashboard_refuses_a_stranger(known: dict[str, Any], path: str) -> None:
    url = f"http://{known['dashboard']}{path}"
    wait_until(lambda: listens(known["dashboard"]), 60)
    for headers in ({}, {"Authorization": "Bearer " + "0" * 64}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
        caught.value.close()
        assert caught.value.code in {401, 403}


@pytest.mark.soak
def test_a_strangers_job_and_driver_are_refused(known: dict[str, Any], tmp_path: Path) -> None:
    attempts = {
        "job": f"from ray.job_submission import JobSubmissionClient as C; "
        f"C('http://{known['dashboard']}').submit_job(entrypoint='true')",
        "driver": f"import ray; ray.init(address='{known['address']}', log_to_driver=False)",
    }
    # At once: a driver tries for 20 s before it gives up.
    running = {
        (name, token): subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment(token, tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, code in attempts.items()
        for token in STRANGERS
    }
    for name, process in running.items():
        output, _ = process.communicate(timeout=90)
        assert process.returncode != 0, name
        assert "auth" in output.lower(), output


def test_the_command_is_told_before_its_cluster_goes(
    script: subprocess.Popen[bytes], known: dict[str, Any], folder: Path
) -> None:
    script.send_signal(signal.SIGTERM)
    assert script.wait(60) == 143
    assert (folder / "saved").read_text() == "42"
    assert not Path(known["token"]).parent.exists()
