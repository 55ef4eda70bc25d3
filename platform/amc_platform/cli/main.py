"""`amc`: the verbs, and what becomes of an error."""

import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from amc_models.errors import InputError
from amc_platform.cli import (
    bench,
    chaos,
    compare,
    doctor,
    evaluate,
    explain,
    export,
    jobs,
    plan,
    prepare,
    run,
    schema,
    status,
    track,
)

FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143

app = typer.Typer(
    name="amc",
    help="Train, evaluate and explain visual grounding with Attention Mask Consistency.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.add_typer(prepare.app, name="prepare")
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.command("report")(run.report)
app.command("submit")(jobs.submit)
app.command("status")(status.status)
app.command("logs")(jobs.logs)
app.command("stop")(jobs.stop)
app.add_typer(track.app, name="track")
app.add_typer(bench.app, name="bench")
app.command("chaos")(chaos.chaos)
app.command("schema")(schema.schema)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"amc {version('amc-platform')}")
        raise typer.Exit


@app.callback()
def amc(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Also: AMC_DEBUG=1.")
    ] = False,
) -> None:
    """Hold the options that stand before the verb."""
    if debug:
        os.environ["AMC_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command line and leave with 0 done, 1 failed, 2 wrong input, 130 interrupted, 143 terminated."""
    # Nothing is told to anyone unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # What Slurm, Kubernetes and clouds send before they take the machine away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        app()
    except InputError as error:
        _leave(WRONG_INPUT, str(error))
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "interrupted")
    except SystemExit as leaving:
        # typer turns an interrupted verb into a silent exit.
        if leaving.code == INTERRUPTED:
            _leave(INTERRUPTED, "interrupted")
        if leaving.code == TERMINATED:
            _leave(TERMINATED, "terminated; the same command goes on from here")
        raise
    except Exception as error:
        where = "above" if _debugging() else f"in {_write_traceback()}"
        _leave(FAILED, f"{type(error).__name__}: {error}; the traceback is {where}")
    sys.exit(0)


def _debugging() -> bool:
    return os.environ.get("AMC_DEBUG", "0") not in ("", "0")


def _leave(code: int, message: str) -> NoReturn:
    if _debugging():
        traceback.print_exc()
    print(f"amc: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _write_traceback() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="amc-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        traceback.print_exc(file=log)
    return Path(name)
