"""`amc doctor`: what is wrong with a file, and the remedy."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amc_platform.cli import doctor_table
from amc_platform.cli.console import print_json, say
from amc_platform.cli.plan import JsonOption

if TYPE_CHECKING:
    from amc_models.config import AlbefConfig
    from amc_models.keys import KeyReport

NAMED = 3
"""Keys told by name where many share a fate for the same reason."""


def doctor(
    path: Annotated[str, typer.Argument(help="Table, checkpoint or experiment file.", show_default=False)],
    image_size: Annotated[
        int | None, typer.Option(help="Load a checkpoint for images of this side, in pixels.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Another table, that must not train on what this one tests on, or the other way round."
        ),
    ] = None,
    clean: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Write the table, made from DATASET, to --out without the images of --against, which may be "
            "Visual Genome's image_data.json or its folder as well.",
        ),
    ] = None,
    out: Annotated[str | None, typer.Option(help="The table to write with --clean.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is in PATH, what is wrong with it, and the remedy; exit code 1 if something is, 2 if unreadable."""
    table = doctor_table.is_table(path)
    doctor_table.refuse_idle(table, image_size, against, clean, out)
    if clean is not None:
        return doctor_table.clean_table(path, clean, against, out, as_json)
    if table:
        fine = doctor_table.examine_table(path, against, as_json)
    elif path.endswith((".yaml", ".yml")):
        fine = _examine_spec(Path(path), as_json)
    else:
        fine = _examine_checkpoint(Path(path), image_size, as_json)
    if not fine:
        raise typer.Exit(1)


def _examine_spec(path: Path, as_json: bool) -> bool:
    from amc_platform.spec import expand_trials

    runs = len(expand_trials(path))
    if as_json:
        print_json({"path": str(path), "kind": "spec", "problem": "", "runs": runs})
    else:
        say(f"{path}: a spec of {runs} runs\nfine: every field is known and of use")
    return True


def _examine_checkpoint(path: Path, image_size: int | None, as_json: bool) -> bool:
    from dataclasses import asdict

    from amc_models.weights import inspect_checkpoint

    config, report = inspect_checkpoint(path)
    if image_size is not None:
        config, report = inspect_checkpoint(path, config.at(image_size))
    if as_json:
        facts = {"path": str(path), "kind": "checkpoint", "problem": report.problem}
        print_json({**facts, "config": config.model_dump(), "keys": [asdict(key) for key in report.keys]})
    else:
        for line in _lines(path, config, report):
            say(line)
    return not report.problem


def _lines(path: Path, config: "AlbefConfig", report: "KeyReport") -> Iterator[str]:
    yield (
        f"{path}: a network for images of {config.image_size} px, {config.vision_depth} image blocks, "
        f"{config.fusion_layer} text and {config.text_layers - config.fusion_layer} fusion layers, "
        f"{config.vocabulary_size} words, queues of {config.queue_size}"
    )
    groups: dict[tuple[str, str], list[str]] = {}
    for key in report.keys:
        groups.setdefault((key.fate, key.reason), []).append(key.key)
    for (fate, reason), names in sorted(groups.items(), key=lambda group: -len(group[1])):
        more = ", ..." if len(names) > NAMED else ""
        told = f"  {', '.join(names[:NAMED])}{more}: {reason}" if reason else ""
        yield f"  {fate:12}  {len(names):4}{told}"
    yield f"wrong: {report.problem}" if report.problem else "fine: every key is accounted for"
