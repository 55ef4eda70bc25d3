"""`amc bench scale`: what several workers cost here, and what the same would give on pools of A40s."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import note, print_json, print_table, say
from amc_platform.cli.plan import JsonOption

CLOCKS = ("wall", "fastest", "cpu")


def scale(
    images: Annotated[int, typer.Option(min=2, help="Images a step of each worker.")] = 8,
    phrases: Annotated[int, typer.Option(min=1, help="Phrases an image.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every group.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps a turn.")] = 4,
    profiled: Annotated[Literal["base", "small"], typer.Option(help="Network that is projected.")] = "base",
    measured: Annotated[
        Path | None,
        typer.Option("--from", help="What `--json` said before: nothing is measured.", show_default=False),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Only the tables of infra/scaling.md.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure one and two workers of the small network, torchrun and Ray Train side by side, and what is sent.

    Exit code 1 where other bytes were sent than the formula says, or Ray Train's steps take over 2 % longer.
    """
    from amc_platform.training.scaling.projection import markdown as tables

    result = _read(measured) if measured else _measure(images, phrases, rounds, steps, profiled)
    if as_json:
        print_json(result)
    elif markdown:
        say(tables(result["profile"]))
    else:
        _show(result)
        say(tables(result["profile"]))
    ray = result["ray_over_bare"]
    if not result["equal"] or min(ray["fastest"], ray["cpu"]) > ray["goal"]:
        raise typer.Exit(1)


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--from: {path}: {error}; name a file that `amc bench scale --json` wrote"
        ) from error
    if not isinstance(result, dict) or "profile" not in result:
        raise InputError(f"--from: {path}: no result of `amc bench scale --json`; name one")
    return result


def _measure(
    images: int, phrases: int, rounds: int, steps: int, profiled: Literal["base", "small"]
) -> dict[str, Any]:
    import torch

    from amc_platform.training.scaling.benchmark import ScaleBenchmark
    from amc_platform.training.scaling.loop import Sizes

    # The ratio is of workers, not of how a step is spread over cores.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="amc-bench-") as folder:
        sizes = Sizes("small", images, phrases, profiled)
        return ScaleBenchmark(Path(folder), sizes, rounds, steps).run(note)


def _show(result: dict[str, Any]) -> None:
    say(
        f"{result['network']}, {result['images']} images of {result['phrases']} phrases a worker and step, gloo on "
        f"loopback, {result['hardware']}, torch {result['torch']}; medians of {result['rounds']} rounds"
    )
    labels = {
        "one": "one process, the machine to itself",
        "apart": "two processes that send nothing",
        "two": "two workers under torchrun",
        "ray": "two workers under Ray Train",
        "two_bf16": "two workers under torchrun, gradients in bf16",
    }
    seconds = result["seconds"]
    print_table(
        ["a step of each", "wall, s", "fastest, s", "CPU, s"],
        [[label, *(f"{seconds[name][clock]:.3f}" for clock in CLOCKS)] for name, label in labels.items()],
    )
    ratios = [
        ("one process to two that send nothing: what cores share", result["efficiency"]["one_to_apart"]),
        ("efficiency, one to two workers", result["efficiency"]["one_to_two"]),
        ("efficiency, two that send nothing to two workers", result["efficiency"]["apart_to_two"]),
        ("the same with gradients in bf16", result["efficiency"]["apart_to_two_bf16"]),
        (f"Ray Train by torchrun (goal {result['ray_over_bare']['goal']:g})", result["ray_over_bare"]),
    ]
    print_table(
        ["ratio, median of rounds", "wall", "fastest", "CPU"],
        [[label, *(f"{ratio[clock]:.3f}" for clock in CLOCKS)] for label, ratio in ratios],
    )
    say(
        f"gradients alone take {result['transfer_s']:.3f} s; two that send them take {result['exposed_s']:.3f} s "
        "longer than two that do not (fastest steps)"
    )
    for precision, of_ranks in result["traffic"].items():
        counted, formula = of_ranks[0]["counted"], of_ranks[0]["formula"]
        sizes = ", ".join(
            f"{kind.strip('_')} {size} (formula {formula.get(kind)})" for kind, size in counted.items()
        )
        say(f"bytes that a worker sends a step, gradients in {precision}: {sizes}")
    profile = result["profile"]
    total, first = sum(size for _, size in profile["buckets"]), profile["buckets"][0][0]
    say(
        f"{profile['network']}: {total / 1e6:.0f} MB of gradients in {len(profile['buckets'])} buckets, the first "
        f"ready after {100 * first:.0f} % of the passes; {profile['flop_per_pair'] / 1e9:.0f} GFLOP a pair"
    )
