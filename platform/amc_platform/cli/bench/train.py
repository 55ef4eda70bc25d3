"""`amc bench train`: the training step beside a plain implementation of the same mathematics."""

from typing import Annotated, Any, Literal

import typer

from amc_platform.cli import console
from amc_platform.cli.plan import JsonOption


def train(
    size: Annotated[Literal["base", "small"], typer.Option(help="Preset of the network.")] = "base",
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = 4,
    phrases_per_image: Annotated[int, typer.Option(min=1, help="Phrases an image.")] = 1,
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="Of our step; the plain one is fp32.")
    ] = "fp32",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations again in the backward pass.")
    ] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the image encoder.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Steps of each, in turns.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Check that both give the same losses, then time their steps in turns; exit code 1 where losses differ."""
    import torch

    from amc_models.benchmarks.train import TrainBenchmark

    # The ratio is of work, not of how well either side is spread over cores.
    torch.set_num_threads(1)
    what = TrainBenchmark(size, batch, phrases_per_image, precision, checkpointing, compiled, repeats)
    with console.progress("steps") as report:
        result = what.run(report)
    if as_json:
        console.print_json(result)
    else:
        _show(result)
    if not result["equal"]:
        raise typer.Exit(1)


def _show(result: dict[str, Any]) -> None:
    options = " ".join(name for name in ("precision", "checkpointing", "compiled") if result[name] is True)
    console.say(
        f"{result['size']}, {result['images']} images a step, {result['phrases_per_image']} phrases an image, "
        f"{result['precision']}{options and ' ' + options}, torch {result['torch']}, on {result['hardware']}"
    )
    losses = [
        [name, *(f"{loss[side]:.6f}" for side in ("reference", "fast")), f"{loss['deviation']:.1e}"]
        for name, loss in result["losses"].items()
    ]
    console.print_table(["loss", "plain", "ours", "deviation"], losses)
    if not result["equal"]:
        console.say(f"losses differ by more than {result['tolerance']:g}: nothing was timed")
        return
    console.print_table(
        ["", "plain", "ours"],
        [
            [name, *(f"{result[key][side]:.{digits}f}" for side in ("reference", "fast"))]
            for name, key, digits in (
                (f"{result['clock']}, s a step", "seconds", 3),
                ("wall clock, s a step", "wall_seconds", 3),
                ("triplets a second", "triplets_per_s", 2),
                ("kept for the backward pass, MiB a sample", "activation_mib_per_sample", 1),
                ("peak memory, MiB", "peak_memory_mib", 0),
            )
            if result[key]
        ],
    )
    console.say(f"faster by {result['ratio']:.2f}x, memory {result['activation_ratio']:.2f}x")
    utilisation = result["model_flop_utilisation"]
    console.say(
        f"{result['gflop']:.0f} GFLOP of matrix products, at {result['matmul_gflop_per_s']:.0f} GFLOP/s "
        f"{100 * result['matmul_floor_share']:.0f} % of our step"
        + ("" if utilisation is None else f"; model FLOP utilisation {100 * utilisation:.0f} %")
    )
