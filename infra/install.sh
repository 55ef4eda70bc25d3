#!/usr/bin/env bash
# Make .venv where there is none and install the project into it, at the versions of infra/constraints.txt.
# Arguments go to `uv pip install`: `infra/install.sh --group dev` adds what tests and checks need.
set -euo pipefail
cd "$(dirname "$0")/.."

python=""
for candidate in .venv/bin/python python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "amc: Python 3.11 not found as python3.11 or python3; install it and run this again" >&2
    exit 2
fi

if uv=$(command -v uv); then
    [ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
else
    uv=.venv/bin/uv
    if [ ! -x "$uv" ]; then
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        .venv/bin/python -m ensurepip --upgrade >/dev/null
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint infra/constraints.txt uv
    fi
fi

# The build of the project itself is pinned too, hence the second option. Bytecode is written here, since a run of Ray
# starts a dozen processes that would each compile PyTorch and Ray again where PYTHONDONTWRITEBYTECODE is set.
"$uv" pip install --python .venv/bin/python --constraint infra/constraints.txt \
    --build-constraint infra/constraints.txt --compile-bytecode --editable . "$@"
