"""`amc bench evaluate`: heatmaps and points of the published evaluation beside ours, and what each costs."""

from typing import Annotated, Literal

import typer

from amc_platform.cli import console
from amc_platform.cli.plan import JsonOption


def evaluate(
    size: Annotated[Literal["base", "small"], typer.Option(help="Preset of the network.")] = "base",
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the network's input, in pixels; the preset's if not given."),
    ] = None,
    phrases: Annotated[int, typer.Option(min=1, help="Phrases an image.")] = 1,
    images: Annotated[int, typer.Option(min=1, help="Images a round.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Check that both give the same maps and points, then time them in turns; exit code 1 where they differ."""
    import torch

    from amc_platform.evaluation.benchmark import EvaluationBenchmark

    # The ratio is of work, not of how well either way is spread over cores.
    torch.set_num_threads(1)
    with console.progress("rounds") as report:
        result = EvaluationBenchmark(size, image_size, phrases, images).run(report)
    if as_json:
        console.print_json(result)
    else:
        console.say(
            f"{result['size']}, {result['image_size']} px, {phrases} phrases an image, on {result['hardware']}"
        )
        console.say(
            f"maps: largest deviation {result['deviation']:.1e} of the maximum (allowed {result['tolerance']:.0e});"
            f" points: {result['points_equal']} of {result['points']} equal,"
            f" {result['points_within_rounding']} within rounding"
        )
        for part in ("network", "end_to_end"):
            if part in result:
                measured = result[part]
                goal = "" if measured["goal"] is None else f" (goal {measured['goal']})"
                console.say(
                    f"{part.replace('_', ' ')}: {measured['plain_s']:.3f} s an image the plain way,"
                    f" {measured['fast_s']:.3f} s ours, ratio {measured['ratio']:.1f}{goal}"
                )
    if not result["equal"]:
        raise typer.Exit(1)
