"""The bash of a job that runs beside its folder: in the background of a machine, or in Slurm."""

import shlex
from collections.abc import Iterable

from amc_platform.jobs.record import Job

EXIT, LOG, STOP = "exit", "log.txt", "stop"
"""In the job's folder: its exit code once it has ended, what it printed, and the wish that it ends."""

# The exit code is left however the script ends: a missing interpreter is told of too.
# A signal ends `wait` before the command has saved where it stands: hence the loop.
_FRAME = """\
leave() {{
    local code=$?
    {before_leaving}
    echo "$code" >{exit}.tmp
    mv {exit}.tmp {exit}
}}
trap leave EXIT
child=''
terminated=''
trap 'terminated=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM INT
attend() {{
    [ -z "$terminated" ] || exit 143
    "$@" &
    child=$!
    local code=0
    wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do
        code=0
        wait "$child" || code=$?
    done
    child=''
    return "$code"
}}
"""


def opening(
    job: Job,
    python: str,
    *,
    setup: Iterable[str] = (),
    env_file: str | None = None,
    before_leaving: str = ":",
) -> str:
    """Everything before the command: folder, environment and the code, which the wheel brings.

    `before_leaving` may `return`, and then no exit code is written.
    """
    variables = {"PYTHONPATH": f"{job.folder}/code", "RAY_USAGE_STATS_ENABLED": "0", **job.environment}
    lines = [
        *setup,
        *([source_file(env_file)] if env_file else []),
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f"python={shlex.quote(python)}",
        f'[ -d code ] || "$python" -m zipfile -e {shlex.quote(job.wheel.name)} code',
    ]
    start = f"set -euo pipefail\ncd {shlex.quote(str(job.folder))}\nrm -f {EXIT}\n"
    return start + _FRAME.format(exit=EXIT, before_leaving=before_leaving) + "\n".join(lines) + "\n"


def source_file(path: str) -> str:
    """Read VARIABLE=value lines into the environment: secrets stay in that file."""
    return f"set -a\n# shellcheck disable=SC1090,SC1091\n. {shlex.quote(path)}\nset +a"


def run_command() -> str:
    """`amc run`, which SIGTERM is handed on to."""
    return 'attend "$python" -m amc_platform.cli run spec.yaml\n'
