"""Slurm: an allocation in which the job starts a Ray of its own."""

import shutil
import subprocess
from collections.abc import Iterator

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.jobs.beside import ending, read_log
from amc_platform.jobs.launcher import JobState
from amc_platform.jobs.record import Job
from amc_platform.jobs.script import LOG, STOP, opening, run_command
from amc_platform.jobs.target import SlurmTarget

_SCRIPT = "job.sbatch"
_WAITING = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
_STOPPED = {"CANCELLED", "PREEMPTED"}

# Not `ray symmetric-run`: it ends with `ray stop`, which ends every Ray of this user on a node, of other jobs too.
# Each job has its own ports, folder and token; the token is read from a file that this user alone can read.
_CLUSTER = """\
# Of several networks, AMC_HEAD_IP names the fast one.
address=${{AMC_HEAD_IP:-$(hostname -I | awk '{{print $1}}')}}
port=$((20000 + SLURM_JOB_ID % 5000 * 2))
(umask 077 && "$python" -c 'import secrets; print(secrets.token_hex(32))' >"$token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token
ulimit -n "$(ulimit -Hn)"
ray=("$python" -m ray.scripts.scripts start --block --disable-usage-stats {sizes})
"${{ray[@]}}" --head --node-ip-address="$address" --port="$port" --temp-dir="$scratch" \\
    --ray-client-server-port=$((port + 1)) --include-dashboard=false >ray-head.txt 2>&1 &
head=$!
pids+=("$head")
export RAY_ADDRESS=$address:$port
attend "$python" -m amc_platform.jobs.nodes 1 "$head"
{workers}"""
_WORKERS = """\
srun --nodes={others} --ntasks={others} --ntasks-per-node=1 --exclude="$SLURMD_NODENAME" --kill-on-bad-exit=0 \\
    "${{ray[@]}}" --address="$RAY_ADDRESS" >ray-workers.txt 2>&1 &
pids+=($!)
attend "$python" -m amc_platform.jobs.nodes {nodes} "$head"
"""
_NAMES = "pids=()\nscratch=/tmp/amc-$SLURM_JOB_ID\ntoken=$PWD/token.$SLURM_JOB_ID"
_END_CLUSTER = '''\
for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$token" "$scratch"'''
# Time is nearly over, or the nodes are needed by others: the job goes on from its checkpoint later.
_REQUEUE = f"""
    if [ "$code" = 143 ] && [ ! -e {STOP} ] && scontrol requeue "$SLURM_JOB_ID"; then return; fi"""


class SlurmLauncher:
    """`sbatch`, `squeue`, `scancel`; the job's folder is on storage that the nodes share."""

    shares_files = True

    def __init__(self, target: SlurmTarget) -> None:
        self._target = target
        # The allocation's nodes, and no others, are the pool.
        self.forced = ["cluster.address=auto", "cluster.pool=null"]

    def check(self, *, insecure: bool) -> None:
        """Without Slurm's commands the script is only written; the job's Ray always asks for a token."""

    def write(self, job: Job) -> None:
        """Write `job.sbatch`."""
        write_text(job.folder / _SCRIPT, render(job, self._target))

    def send(self, job: Job) -> str:
        """Queue it."""
        script = job.folder / _SCRIPT
        if shutil.which("sbatch") is None:
            return f"no sbatch here: hand in {script} where there is one"
        number = _slurm("sbatch", "--parsable", str(script)).strip().split(";")[0]
        job.remember(slurm=number)
        return f"queued as {number}"

    def state(self, job: Job) -> JobState:
        """By Slurm's queue, else by the exit code that the job left, else by Slurm's accounts."""
        handle = job.handle()
        if not handle:
            return JobState("written")
        number = handle["slurm"]
        queued = _words("squeue", "--noheader", "--jobs", number, "--format", "%T")
        if queued:
            return JobState("waiting" if queued[0] in _WAITING else "running", f"{queued[0]}, job {number}")
        if (ended := ending(job)) is not None:
            return ended
        said = _words("sacct", "--noheader", "--allocations", "--jobs", number, "--format", "State%30")
        if said and said[0] in _STOPPED:
            return JobState("stopped", f"{said[0]}, job {number}")
        if said:
            return JobState("failed", f"{said[0]}, job {number}; see `amc logs {job.name}`")
        if (job.folder / STOP).exists():
            return JobState("stopped", f"taken out of the queue, job {number}")
        return JobState("lost", f"Slurm knows no job {number}")

    def log(self, job: Job, *, follow: bool) -> Iterator[str]:
        """Its log file."""
        return read_log(job, lambda: self.state(job), follow=follow)

    def stop(self, job: Job) -> None:
        """SIGTERM to the script, which hands it on; a job that waits is taken out of the queue."""
        number = job.handle()["slurm"]
        (job.folder / STOP).touch()
        if self.state(job).state == "waiting":
            _slurm("scancel", number)
        else:
            _slurm("scancel", "--signal=TERM", "--batch", number)


def render(job: Job, target: SlurmTarget) -> str:
    """The script: Ray's head where it starts, a worker on each other node, `amc run` once all have joined."""
    gpu = f"{target.gpu_type}:" if target.gpu_type else ""
    options = {
        "job-name": job.name,
        "nodes": target.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": target.cpus_per_node,
        "gpus-per-node": f"{gpu}{target.gpus_per_node}" if target.gpus_per_node else None,
        "mem": target.memory,
        "time": target.time,
        "partition": target.partition,
        "account": target.account,
        "qos": target.qos,
        "constraint": target.constraint,
        "output": job.folder / LOG,
        "open-mode": "append",
        "signal": f"B:TERM@{target.grace_s}",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
    lines.append("#SBATCH --requeue" if target.requeue else "#SBATCH --no-requeue")
    others = target.nodes - 1
    cluster = _CLUSTER.format(
        sizes=f"--num-cpus={target.cpus_per_node} --num-gpus={target.gpus_per_node}",
        workers=_WORKERS.format(others=others, nodes=target.nodes) if others else "",
    )
    start = opening(
        job,
        target.python,
        setup=[*_NAMES.splitlines(), *target.setup],
        env_file=target.env_file,
        before_leaving=_END_CLUSTER + (_REQUEUE if target.requeue else ""),
    )
    head = "\n".join(["#!/usr/bin/env bash", *lines, f"# Job {job.name}, written by `amc submit`."])
    return f"{head}\n{start}{cluster}{run_command()}"


def _words(*command: str) -> list[str]:
    """What a command that need not be there, or may not know the job, prints."""
    if shutil.which(command[0]) is None:
        return []
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def _slurm(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise InputError(f"{command[0]}: not here; use a machine that Slurm's commands are on") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"{command[0]}: {error.stderr.strip() or error}; mend the target") from error
