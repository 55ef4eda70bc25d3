"""`amc bench golden`: recorded numbers of the published code beside ours."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from amc_models.errors import InputError
from amc_platform.cli import console
from amc_platform.cli.plan import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amc_models.benchmarks.verdict import Verdict


def golden(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder with tiny_*.json, eval_cases.json, augment.json.", show_default=False),
    ],
    dtype: Annotated[
        Literal["float64", "float32"],
        typer.Option(help="Precision of the network; in float32 rounding alone may use up a tolerance."),
    ] = "float64",
    as_json: JsonOption = False,
) -> None:
    """Compare every number recorded in FOLDER with ours; exit code 1 where one is missed."""
    verdicts = list(_verdicts(folder, dtype))
    missed = sum(not verdict.ok for verdict in verdicts)
    if as_json:
        console.print_json(
            {
                "folder": str(folder),
                "dtype": dtype,
                "compared": len(verdicts),
                "missed": missed,
                "tensors": [_json(verdict) for verdict in verdicts],
            }
        )
    else:
        rows = [[f"{v.case} {v.name}", *_cells(v), v.note] for v in verdicts]
        console.print_table(["recorded", "deviation", "tolerance", "verdict", ""], rows)
        console.say(f"{len(verdicts)} compared in {dtype}, {missed} missed")
    if missed:
        raise typer.Exit(1)


def _verdicts(folder: Path, dtype: str) -> "Iterator[Verdict]":
    """Each room compares the numbers that are its own."""
    import torch

    from amc_models.benchmarks.golden import GoldenCase, position_verdicts
    from amc_models.benchmarks.verdict import read_json, read_tensors
    from amc_platform.data.golden import augment_verdicts, text_and_box_verdicts
    from amc_platform.evaluation.golden import pointing_verdicts
    from amc_platform.training.golden import learning_rate_verdicts

    networks = sorted(folder.glob("tiny_*.json"))
    evaluation, augment = folder / "eval_cases.json", folder / "augment.json"
    if not (networks or evaluation.is_file() or augment.is_file()):
        raise InputError(
            f"{folder}: no golden case (tiny_*.json, eval_cases.json, augment.json) is there; give their folder"
        )
    for path in networks:
        yield from GoldenCase(path, getattr(torch, dtype)).verdicts()
    if evaluation.is_file():
        facts, tensors = read_json(evaluation), read_tensors(evaluation.with_name("eval_maps.safetensors"))
        yield from pointing_verdicts(facts.get("cases", []), tensors)
        yield from text_and_box_verdicts(facts)
        if "lr" in facts:
            yield from learning_rate_verdicts(facts["lr"])
        yield from position_verdicts(tensors)
    if augment.is_file():
        yield from augment_verdicts(read_json(augment), read_tensors(augment.with_suffix(".safetensors")))


def _cells(verdict: "Verdict") -> list[str]:
    return [f"{verdict.deviation:.1e}", f"{verdict.tolerance:.1e}", "ok" if verdict.ok else "MISS"]


def _json(verdict: "Verdict") -> dict[str, object]:
    deviation = verdict.deviation if math.isfinite(verdict.deviation) else None
    return {
        "case": verdict.case,
        "name": verdict.name,
        "deviation": deviation,
        "tolerance": verdict.tolerance,
        "ok": verdict.ok,
        "note": verdict.note,
    }
