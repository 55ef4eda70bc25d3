"""`amc submit` up to where something is sent, and what is kept of a job."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.jobs.record import Job, find_job, known_jobs, new_name
from amc_platform.jobs.submit import submit
from amc_platform.jobs.target import RayTarget
from amc_platform.jobs.token import check_cluster, read_token


@pytest.fixture(autouse=True)
def _own_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


class Cluster(HTTPServer):
    """Answers as the dashboard of a Ray that asks for `token`, or for none."""

    token: str | None = None


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Cluster)
        said = self.headers.get("Authorization")
        wanted = self.server.token
        code = 200 if wanted is None or said == f"Bearer {wanted}" else 403 if said else 401
        self.send_response(code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def target_at(cluster: Cluster, token_file: str | None = None) -> RayTarget:
    address = f"http://127.0.0.1:{cluster.server_port}"
    return RayTarget(kind="ray", address=address, python="/opt/python", token_file=token_file)


def test_an_open_cluster_is_refused_unless_told(cluster: Cluster) -> None:
    target = target_at(cluster)
    with pytest.raises(InputError, match=r"this Ray cluster is open.*RAY_AUTH_MODE=token.*--insecure"):
        check_cluster(target, None, insecure=False)
    check_cluster(target, None, insecure=True)


def test_a_cluster_with_a_token_wants_the_right_one(cluster: Cluster) -> None:
    cluster.token = "right"
    target = target_at(cluster)
    with pytest.raises(InputError, match="asks for a token"):
        check_cluster(target, None, insecure=False)
    with pytest.raises(InputError, match=r"refused the token \(403\)"):
        check_cluster(target, "wrong", insecure=False)
    check_cluster(target, "right", insecure=False)


def test_a_token_does_not_travel_unencrypted() -> None:
    target = RayTarget(kind="ray", address="http://head.example:8265", python="/opt/python")
    with pytest.raises(InputError, match="would carry the token unencrypted; use https, or a tunnel"):
        check_cluster(target, "right", insecure=False)


def test_nobody_there_is_one_line(cluster: Cluster) -> None:
    target = target_at(cluster)
    cluster.server_close()
    with pytest.raises(InputError, match="no Ray answers there"):
        check_cluster(target, "right", insecure=False)


def test_the_token_is_read_where_it_is_kept(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_token(target_at(cluster)) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("default\n")
    assert read_token(target_at(cluster)) == "default"
    (tmp_path / "other").write_text("other\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
    assert read_token(target_at(cluster)) == "other"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "environment")
    assert read_token(target_at(cluster)) == "environment"
    (tmp_path / "named").write_text("named")
    assert read_token(target_at(cluster, token_file=str(tmp_path / "named"))) == "named"
    with pytest.raises(InputError, match="missing cannot be read"):
        read_token(target_at(cluster, token_file=str(tmp_path / "missing")))


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """A target whose script is only written here."""
    path = tmp_path / "there.yaml"
    fields = {
        "kind": "slurm",
        "python": "/opt/python",
        "cpus_per_node": 2,
        "set": {"seed": 7, "training.steps": 6},
    }
    path.write_text(yaml.safe_dump(fields))
    return path


def test_a_job_has_its_code_its_resolved_spec_and_a_record(tmp_path: Path, slurm: Path) -> None:
    write_experiment(tmp_path)
    child = tmp_path / "child.yaml"
    child.write_text("extends: spec.yaml\nname: test/child\ntraining: {log_every: 1}\n")
    job, said = submit(child, str(slurm), ["training.steps=4"], allow_dirty=True, send=False)
    assert "not sent" in said
    assert job.folder.parent == tmp_path / "runs" / "jobs"
    spec = yaml.safe_load(job.spec.read_text())
    # What the target sets is there, and `--set` goes before it.
    assert (spec["name"], spec["seed"], spec["training"]["log_every"]) == ("test/child", 7, 1)
    assert (spec["training"]["steps"], spec["cluster"]["address"]) == (4, "auto")
    assert job.wheel.name.startswith("amc_platform-")
    assert (job.folder / "job.sbatch").is_file()
    assert len(job.source["AMC_GIT_SHA"]) == 40
    assert find_job(job.name) == Job.read(job.folder) == job
    assert known_jobs() == [job.name]


def test_an_unknown_job_is_told_the_nearest(tmp_path: Path, slurm: Path) -> None:
    job, _ = submit(write_experiment(tmp_path), str(slurm), allow_dirty=True, send=False)
    with pytest.raises(InputError, match=f"no such job; did you mean {job.name}"):
        find_job(job.name[:-1])


def test_names_fit_kubernetes_and_are_new_each_time() -> None:
    names = {new_name("Scenes/A very long Name of an experiment, indeed.") for _ in range(5)}
    assert len(names) == 5
    assert all(len(name) <= 47 and name.replace("-", "").isalnum() and name.islower() for name in names)


def test_nothing_is_left_of_what_was_refused(cluster: Cluster, tmp_path: Path) -> None:
    spec = write_experiment(tmp_path)
    there = tmp_path / "there.yaml"
    there.write_text(target_at(cluster).model_dump_json(exclude_none=True))
    with pytest.raises(InputError, match="this Ray cluster is open"):
        submit(spec, str(there), allow_dirty=True)
    with pytest.raises(InputError, match=r"tracking.uri: holds a password"):
        submit(spec, str(there), ["tracking.uri=http://a:b@mlflow:5000"], allow_dirty=True, send=False)
    # Open, allowed, and then it is no Ray that could take a job.
    with pytest.raises(InputError):
        submit(spec, str(there), allow_dirty=True, insecure=True)
    assert not list(tmp_path.glob("runs/jobs/*"))
    assert known_jobs() == []


def test_the_verbs_answer_in_json_and_refuse_with_2(tmp_path: Path, slurm: Path) -> None:
    spec = write_experiment(tmp_path)

    def amc(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "amc_platform.cli", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ)
        )

    done = amc("submit", str(spec), "--to", str(slurm), "--allow-dirty", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["kind"], told["experiment"]) == ("slurm", "test/small")
    status = amc("status", told["job"], "--json")
    assert json.loads(status.stdout)["state"] == "written", status.stderr
    listed = amc("status", str(tmp_path / "runs"))
    assert listed.stdout == f"submitted: {told['job']}; `amc status JOB` asks how one stands\n"
    for verb in ("status", "logs", "stop"):
        refused = amc(verb, "amc-nobody-000000")
        assert refused.returncode == 2
        assert "amc: amc-nobody-000000: no such job" in refused.stderr
    stopped = amc("stop", told["job"])
    assert (stopped.returncode, "never sent from here" in stopped.stderr) == (2, True)
