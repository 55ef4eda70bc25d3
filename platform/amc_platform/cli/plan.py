"""`amc plan`: what an experiment would run and take, before anything starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amc_platform.cli.console import note, print_json, print_table, progress, say

if TYPE_CHECKING:
    from amc_platform.search.cost import Cost
    from amc_platform.search.estimate import TrialEstimate
    from amc_platform.search.plan import Plan

SpecArgument = Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change a field; may be given several times."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def plan(
    spec: SpecArgument,
    overrides: SetOption = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="First train 20 steps of each kind of trial to learn its speed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the trials of SPEC with steps, memory, device-hours and cost; exit code 2 above its budget.

    Data and checkpoints need not be there: identities that depend on them are told once they are.
    """
    from amc_platform.search.cost import check_budget
    from amc_platform.search.estimate import cost_of, estimate
    from amc_platform.search.plan import make_plan

    if probe:
        _probe(spec, overrides or [])
    made = make_plan(spec, overrides or [], outline=True)
    trials, total = estimate(made), cost_of(made)
    if as_json:
        print_json(_json(made, trials, total))
    else:
        _print(made, trials, total)
    check_budget(total, made.experiment)


def _probe(spec: Path, overrides: list[str]) -> None:
    from amc_platform.search.driver import ready_plan
    from amc_platform.search.probe import STEPS, probe

    with progress("scenes") as report:
        made = ready_plan(spec, overrides, fresh=False, progress=report)
    measured = probe(made, note)
    speeds = ", ".join(f"{speed:.0f}" for speed in measured.values())
    note(
        f"{len(measured)} kinds of trials measured over {STEPS} steps: {speeds} pairs/s"
        if measured
        else "every kind of trial has been trained before: its speed is known"
    )


def _json(made: "Plan", trials: "list[TrialEstimate]", total: "Cost") -> dict[str, Any]:
    experiment = made.experiment
    return {
        "name": experiment.name,
        "data_hash": made.data_hash,
        "trials": [
            {
                "trial": _name(made, trial),
                "seed": trial.job.seed,
                "changes": trial.row.changes,
                "identity": _identity(trial),
                "state": trial.job.state,
                "steps": trial.job.experiment.training.steps,
                "steps_left": trial.left.steps,
                "memory_gib": trial.memory_gib,
                "device_hours": trial.left.device_hours,
                "cost": trial.left.money(experiment),
            }
            for trial in trials
        ],
        "unproposed": made.unproposed,
        "to_run": _to_run(made),
        "steps": total.steps,
        "device": _device(made),
        "device_hours": total.device_hours,
        "cost": total.money(experiment),
        "budget": experiment.budget.model_dump(mode="json"),
    }


def _print(made: "Plan", trials: "list[TrialEstimate]", total: "Cost") -> None:
    from amc_platform.search.plan import UNKNOWN

    hours = f"{_device(made)}-hours"
    rows = [
        [
            _name(made, trial),
            str(trial.job.seed),
            ", ".join(f"{path}={value}" for path, value in trial.row.changes.items()) or "-",
            trial.job.state,
            str(trial.left.steps),
            f"{trial.memory_gib:.1f}",
            _number(trial.left.device_hours),
            _identity(trial) or "-",
        ]
        for trial in trials
    ]
    columns = ["trial", "seed", "changes", "state", "steps left", "GiB a worker", hours, "identity"]
    print_table(columns, rows, title=made.experiment.name)
    if made.unproposed:
        optuna = made.experiment.search.optuna
        assert optuna is not None
        say(f"{made.unproposed} rows are proposed by {optuna.algorithm} as the search goes on")
    # Where trials are stopped, it is less.
    most = "at most " if made.experiment.search.asha else ""
    parts = [f"{_to_run(made)} trials to run", f"{most}{total.steps} steps"]
    if total.device_hours is None:
        parts.append(f"{hours} unknown: measure them by --probe, or state budget.pairs_per_second")
    else:
        parts.append(f"{most}{_number(total.device_hours)} {hours} of training")
    if (money := total.money(made.experiment)) is not None:
        parts.append(f"cost {most}{money:.2f}")
    say("; ".join(parts))
    if made.data_hash == UNKNOWN:
        note(f"{made.experiment.data.table} is not there yet; identities follow from its content")
    elif any(_identity(trial) is None for trial in trials):
        note("a checkpoint to start from is not there yet; identities follow from its content")


def _name(made: "Plan", trial: "TrialEstimate") -> str:
    return trial.row.name or made.experiment.name


def _identity(trial: "TrialEstimate") -> str | None:
    """None while it depends on what is not there."""
    from amc_platform.search.plan import UNKNOWN

    identity = trial.job.identity
    return None if identity.startswith(UNKNOWN) else identity


def _to_run(made: "Plan") -> int:
    return len(made.pending) + made.unproposed * max(1, len(made.experiment.search.seeds))


def _device(made: "Plan") -> str:
    return "GPU" if made.experiment.cluster.gpus_per_worker else "core"


def _number(hours: float | None) -> str:
    """Three digits, a dash for what is not known."""
    return "-" if hours is None else f"{hours:.3g}" if hours < 1000 else f"{hours:.0f}"
