"""The bash of jobs: what shellcheck says of it, what is in it, and that signals and exit codes go through it."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sent import written_job

from amc_platform.jobs.beside import ending
from amc_platform.jobs.local import LocalLauncher
from amc_platform.jobs.slurm import SlurmLauncher, render
from amc_platform.jobs.target import LocalTarget, SlurmTarget

LOCAL = LocalTarget(kind="local")
SLURM = SlurmTarget(
    kind="slurm",
    python="/opt/amc/bin/python",
    nodes=4,
    cpus_per_node=64,
    gpus_per_node=8,
    gpu_type="a40",
    memory="400G",
    partition="gpu",
    setup=["module load cuda"],
    env_file="/shared/job.env",
)


def shellcheck(script: str) -> str:
    program = str(Path(sys.executable).parent / "shellcheck")
    command = [program, "--shell=bash", "--severity=style", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("changes", [{}, {"nodes": 1}, {"requeue": False, "env_file": None, "setup": []}])
def test_shellcheck_has_nothing_to_say_of_a_slurm_script(tmp_path: Path, changes: dict[str, object]) -> None:
    target = SLURM.model_copy(update=changes)
    assert shellcheck(render(written_job(tmp_path, target), target)) == ""


def test_shellcheck_has_nothing_to_say_of_a_local_script(tmp_path: Path) -> None:
    job = written_job(tmp_path, LOCAL)
    LocalLauncher().write(job)
    assert shellcheck((job.folder / "run.sh").read_text()) == ""


def test_shellcheck_would_say_something() -> None:
    assert "SC2086" in shellcheck("#!/usr/bin/env bash\nrm $1\n")


def test_a_slurm_script_asks_for_the_nodes_and_starts_ray_with_a_token(tmp_path: Path) -> None:
    script = render(written_job(tmp_path, SLURM), SLURM)
    options = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert {
        "nodes=4",
        "gpus-per-node=a40:8",
        "mem=400G",
        "partition=gpu",
        "requeue",
        "signal=B:TERM@120",
    } <= options
    assert "srun --nodes=3 --ntasks=3" in script
    assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in script
    assert "ray stop" not in script
    assert "export AMC_GIT_SHA=5ha" in script


def test_one_node_needs_no_srun(tmp_path: Path) -> None:
    target = SLURM.model_copy(update={"nodes": 1})
    assert "srun --" not in render(written_job(tmp_path, target), target)


def start(folder: Path, python: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Run a local script whose interpreter is the executable text `python`."""
    job = written_job(folder, LOCAL)
    (job.folder / "code").mkdir()
    LocalLauncher().write(job)
    fake = folder / "python"
    fake.write_text(f"#!/bin/bash\n{python}\n")
    fake.chmod(0o755)
    script = job.folder / "run.sh"
    script.write_text(script.read_text().replace(f"python={sys.executable}", f"python={fake}"))
    return subprocess.Popen(["bash", str(script)]), job.folder


@pytest.mark.parametrize(("python", "code"), [("exit 0", 0), ("exit 2", 2), ("kill -9 $$", 137)])
def test_the_exit_code_is_left(tmp_path: Path, python: str, code: int) -> None:
    process, folder = start(tmp_path, python)
    assert process.wait(20) == code
    assert (folder / "exit").read_text() == f"{code}\n"


def test_the_exit_code_of_a_missing_interpreter_is_left_too(tmp_path: Path) -> None:
    process, folder = start(tmp_path, "exit 0")
    process.wait(20)
    (tmp_path / "python").unlink()
    assert (
        subprocess.run(["bash", str(folder / "run.sh")], check=False, capture_output=True).returncode == 127
    )
    assert (folder / "exit").read_text() == "127\n"


def test_sigterm_is_handed_on_and_waited_for(tmp_path: Path) -> None:
    saves = "trap 'sleep 0.5; touch saved; exit 143' TERM; touch ready; while :; do sleep 0.05; done"
    process, folder = start(tmp_path, saves)
    while not (folder / "ready").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert (folder / "saved").exists()
    assert (folder / "exit").read_text() == "143\n"


def test_what_an_exit_code_means(tmp_path: Path) -> None:
    job = written_job(tmp_path, LOCAL)
    assert ending(job) is None
    for code, state in {0: "done", 143: "stopped", 1: "failed", 2: "failed"}.items():
        (job.folder / "exit").write_text(f"{code}\n")
        ended = ending(job)
        assert ended is not None
        assert ended.state == state


def test_without_slurm_the_script_is_written_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    job, launcher = written_job(tmp_path, SLURM), SlurmLauncher(SLURM)
    launcher.write(job)
    assert "hand in" in launcher.send(job)
    assert launcher.state(job).state == "written"


def test_a_process_with_the_number_of_another_is_not_the_job(tmp_path: Path) -> None:
    job = written_job(tmp_path, LOCAL)
    job.remember(pid=os.getpid(), started=1, host=platform.node())
    assert LocalLauncher().state(job).state == "lost"
