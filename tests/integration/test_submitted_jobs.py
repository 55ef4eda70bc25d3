"""`amc submit | status | logs | stop` on a real Ray head with a token, in the background, and in a Slurm of stubs."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from following import wait_for
from mlflow_servers import free_port, wait_until
from small_experiment import write_experiment

TINY: dict[str, Any] = {"training": {"steps": 2, "lr": 0.01, "lr_min": 0.001, "warmup_steps": 1}}
LONG: dict[str, Any] = {
    "training": {**TINY["training"], "steps": 100_000, "checkpoint_every": 5, "log_every": 5},
    "evaluation": {"splits": ["test"]},
}
SMALL: dict[str, Any] = {"tracking": {"kind": "jsonl"}}


@dataclass(frozen=True)
class Head:
    """A Ray of one node on loopback that asks for a token."""

    address: str
    gcs: str
    token_file: Path

    @property
    def token(self) -> str:
        return self.token_file.read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("submit")


@pytest.fixture(scope="module")
def head(folder: Path) -> Iterator[Head]:
    token_file = folder / "secret"
    token_file.write_text(secrets.token_hex(32))
    port, dashboard = free_port(), free_port()
    # Short, since a socket's path may have 107 characters.
    scratch = Path(f"/tmp/amc-head-{port}")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    options = ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    # Another Ray on this machine has the usual ports.
    options += [f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
    sizes = ["--num-cpus=2", f"--temp-dir={scratch}", "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
    environment.pop("PYTHONPATH", None)
    with (folder / "head.txt").open("w") as log:
        process = subprocess.Popen([*command, *options, *sizes], env=environment, stdout=log, stderr=log)
        try:
            found = Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", token_file)
            wait_for(lambda: answer(found, found.token) == 200, process, folder / "head.txt", 400)
            yield found
        finally:
            kill_session(scratch)
            process.wait(60)
            shutil.rmtree(scratch, ignore_errors=True)


def kill_session(scratch: Path) -> None:
    """Kill the processes of a Ray by the folder that is in their command lines; asked, a head takes half a minute."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(scratch).encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def answer(head: Head, token: str | None, path: str = "/api/version") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(head.address + path, headers=headers), timeout=10
        ) as got:
            return got.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def amc(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    kept |= {"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder / "home"), **environment}
    return subprocess.run(
        [sys.executable, "-m", "amc_platform.cli", *arguments],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def target(folder: Path, name: str, **fields: object) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def experiment(folder: Path, name: str, **sections: object) -> str:
    place = folder / name
    place.mkdir()
    return str(write_experiment(place, f"test/{name}", **{**SMALL, **sections}))


def submit(folder: Path, spec: str, to: str, **environment: str) -> dict[str, Any]:
    done = amc(folder, "submit", spec, "--to", to, "--allow-dirty", "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def state_of(folder: Path, job: str, **environment: str) -> dict[str, Any]:
    done = amc(folder, "status", job, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ray_target(folder: Path, head: Head) -> str:
    fields = {"address": head.address, "python": sys.executable, "token_file": str(head.token_file)}
    return target(folder, "ray", kind="ray", **fields)


@pytest.fixture(scope="module")
def done_on_ray(folder: Path, ray_target: str) -> tuple[dict[str, Any], str]:
    """A tiny experiment that a job carried out on the head, and what it printed."""
    job = submit(folder, experiment(folder, "tiny", **TINY), ray_target)
    log = amc(folder, "logs", job["job"], "--follow")
    assert log.returncode == 0, log.stdout + log.stderr
    return job, log.stdout


def test_a_stranger_is_refused(folder: Path, head: Head) -> None:
    assert [answer(head, None), answer(head, None, "/api/jobs/")] == [401, 401]
    assert [answer(head, "0" * 64), answer(head, "0" * 64, "/api/jobs/")] == [403, 403]
    spec = experiment(folder, "stranger", **TINY)
    fields = {"address": head.address, "python": sys.executable}
    wrong = folder / "wrong"
    wrong.write_text("0" * 64)
    for to, said in {
        target(folder, "nobody", kind="ray", **fields): "asks for a token",
        target(folder, "wrong", kind="ray", token_file=str(wrong), **fields): "refused the token (403)",
    }.items():
        done = amc(folder, "submit", spec, "--to", to, "--allow-dirty")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (folder / "stranger" / "runs").exists()


def test_a_job_on_ray_goes_from_submission_to_its_result(
    folder: Path, head: Head, done_on_ray: tuple[dict[str, Any], str]
) -> None:
    job, log = done_on_ray
    assert "page: " in log
    told = state_of(folder, job["job"])
    assert (told["state"], told["kind"], told["experiments"]) == ("done", "ray", {"test/tiny": {"done": 1}})
    assert amc(folder, "logs", job["job"]).stdout == log
    assert (folder / "tiny" / "runs" / "test-tiny" / "report.html").is_file()
    # What was known of the checkout is on the runs, although the code came without git.
    (runs,) = (folder / "tiny" / "runs").glob("**/runs.jsonl")
    tags = [json.loads(line)["tags"] for line in runs.read_text().splitlines()]
    assert {(one["job"], one["git.sha"]) for one in tags} == {(job["job"], job["source"]["AMC_GIT_SHA"])}
    # Where the token is kept is known; the token itself is nowhere.
    holding = [
        path
        for path in (folder / "tiny").rglob("*")
        if path.is_file() and head.token.encode() in path.read_bytes()
    ]
    assert holding == []
    assert head.token not in log


@pytest.fixture(scope="module")
def long_jobs(folder: Path, ray_target: str) -> tuple[str, str]:
    """Names of two jobs that train at the same time, on the head and in the background."""
    places = {"long": ray_target, "background": target(folder, "local", kind="local")}
    jobs = [submit(folder, experiment(folder, name, **LONG), to)["job"] for name, to in places.items()]
    for name in places:
        checkpoints = folder / name / "runs" / "trials"
        wait_until(lambda at=checkpoints: any(at.glob("*/checkpoints/step-*.json")), 400)
    return jobs[0], jobs[1]


@pytest.mark.soak
def test_a_long_job_on_ray_is_stopped_and_its_token_in_no_process_list(
    folder: Path, head: Head, long_jobs: tuple[str, str]
) -> None:
    job = long_jobs[0]
    assert state_of(folder, job)["state"] == "running"
    shown = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout
    assert "amc_platform.cli run spec.yaml" in shown
    assert head.token not in shown
    assert amc(folder, "stop", job).returncode == 0
    followed = amc(folder, "logs", job, "--follow")
    assert (followed.returncode, state_of(folder, job)["state"]) == (0, "stopped")


@pytest.mark.soak
def test_a_job_in_the_background_is_stopped_and_its_log_is_there(
    folder: Path, long_jobs: tuple[str, str]
) -> None:
    job = long_jobs[1]
    told = state_of(folder, job)
    assert (told["state"], told["trials"][0]["state"]) == ("running", "running")
    stopped = amc(folder, "stop", job, "--json")
    assert json.loads(stopped.stdout)["state"] == "stopped", stopped.stderr
    log = amc(folder, "logs", job, "--follow")
    assert log.returncode == 0
    assert "terminated; the same command goes on from here" in log.stdout


@pytest.fixture
def slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which `sbatch`, `squeue`, `scancel` and `srun` act on this machine."""
    programs = folder / "slurm"
    programs.mkdir()
    stubs = {
        "sbatch": """
export SLURM_JOB_ID=4242 SLURMD_NODENAME=here AMC_HEAD_IP=127.0.0.1
out=$(sed -n 's/^#SBATCH --output=//p' "$2")
setsid bash "$2" >>"$out" 2>&1 &
echo $! >"$state/pid"
echo 4242
""",
        "squeue": 'kill -0 "$(cat "$state/pid")" 2>/dev/null && echo RUNNING || exit 1\n',
        "scancel": 'case "$*" in *--batch*) kill -TERM "$(cat "$state/pid")" ;; esac\n',
        # Runs the command once, on this machine, as a second node.
        "srun": 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    }
    for name, body in stubs.items():
        path = programs / name
        path.write_text(f"#!/bin/bash\nstate={programs}\n{body}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


def test_a_slurm_script_starts_its_own_ray_and_finds_what_is_done(
    folder: Path, slurm: Path, done_on_ray: tuple[dict[str, Any], str]
) -> None:
    to = target(folder, "slurm", kind="slurm", python=sys.executable, nodes=2, cpus_per_node=1)
    spec = folder / "tiny" / "spec.yaml"
    job = submit(folder, str(spec), to)
    assert job["said"] == "queued as 4242"
    log = amc(folder, "logs", job["job"], "--follow")
    assert log.returncode == 0, log.stdout + log.stderr
    assert "test/tiny: 1 trials, 1 done already, 0 to run" in log.stdout
    assert state_of(folder, job["job"])["state"] == "done"
    left = {path.name for path in Path(job["folder"]).iterdir()}
    assert {"exit", "log.txt", "ray-head.txt", "ray-workers.txt"} <= left
    assert "token.4242" not in left
    assert not Path("/tmp/amc-4242").exists()
