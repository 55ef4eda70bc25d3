"""`amc evaluate`: how often a checkpoint, or a detector, points at what a phrase names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import print_json, print_table, progress
from amc_platform.cli.plan import JsonOption

if TYPE_CHECKING:
    from amc_platform.data.rows import ImageRow
    from amc_platform.evaluation.accuracy import Accuracy
    from amc_platform.evaluation.hits import Hit
    from amc_platform.evaluation.parallel import Evaluation
    from amc_platform.evaluation.protocol import Protocol

CheckpointArgument = Annotated[
    Path, typer.Argument(help="Checkpoint folder, or a published .pth.", show_default=False)
]
VocabularyOption = Annotated[
    Path | None, typer.Option(help="vocab.txt or its folder, for a checkpoint without one (a .pth).")
]
ProtocolOption = Annotated[str | None, typer.Option(help="Named protocol, or a YAML file of one's own.")]


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint folder, a published .pth, or a detector's box for each phrase (.json, .parquet).",
            show_default=False,
        ),
    ],
    table: Annotated[Path, typer.Option("--on", help="Grounding table.")],
    protocol: ProtocolOption = None,
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", help="Split of the table; may be given several times. [test]"),
    ] = None,
    vocabulary: VocabularyOption = None,
    proposals: Annotated[
        Path | None, typer.Option(help="Boxes of a detector by image, for Recall@1 (dets.json or Parquet).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, of one thread each; any number gives the same hits.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the hits, one row a phrase (Parquet).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the pointing accuracy by kind, category and split, with 95 % intervals over images."""
    from amc_platform.data.table import read_rows
    from amc_platform.evaluation.accuracy import accuracy_table
    from amc_platform.evaluation.groups import groups_by_split, groups_of_table
    from amc_platform.evaluation.hits import write_hits
    from amc_platform.evaluation.parallel import Evaluation
    from amc_platform.evaluation.proposals import is_boxes_file
    from amc_platform.evaluation.protocol import Protocol

    detector = is_boxes_file(checkpoint)
    chosen = Protocol.find(protocol or ("box-centre" if detector else "scenes"))
    if detector != (chosen.point == "box_centre"):
        wanted = "boxes (.json, .parquet)" if chosen.point == "box_centre" else "a checkpoint"
        raise InputError(
            f"{checkpoint}: the protocol {chosen.name} wants {wanted}; choose another --protocol"
        )
    splits = splits or ["test"]
    rows = read_rows(table, splits=splits)
    hits = (
        _of_detector(checkpoint, rows, chosen)
        if detector
        else _of_network(Evaluation(checkpoint, chosen, vocabulary, proposals), rows, workers)
    )
    if out is not None:
        write_hits(out, hits, chosen)
    groups_of = groups_by_split if len(splits) > 1 else groups_of_table
    measures = {"pointing": accuracy_table(hits, groups_of)}
    if any(hit.recall is not None for hit in hits):
        measures["recall_at_1"] = accuracy_table(hits, groups_of, counts=lambda hit: hit.recall is True)
    without_box = sum(hit.recall is not None and hit.chosen is None for hit in hits)
    if as_json:
        _print_json(measures, chosen, splits, without_box)
    else:
        _print_tables(measures, chosen, splits, without_box)


def _of_network(evaluation: "Evaluation", rows: "list[ImageRow]", workers: int | None) -> "list[Hit]":
    from amc_platform.evaluation.parallel import evaluate_checkpoint

    with progress("images") as report:
        done = 0

        def count(images: int) -> None:
            nonlocal done
            done += images
            report(done, len(rows))

        return evaluate_checkpoint(evaluation, rows, workers=workers, progress=count)


def _of_detector(boxes: Path, rows: "list[ImageRow]", protocol: "Protocol") -> "list[Hit]":
    from amc_platform.evaluation.evaluator import score_boxes
    from amc_platform.evaluation.proposals import BestBoxes

    return score_boxes(rows, BestBoxes.read(boxes), protocol)


def _print_json(
    measures: "dict[str, dict[str, Accuracy]]", protocol: "Protocol", splits: list[str], without_box: int
) -> None:
    from dataclasses import asdict

    said = {
        name: {group: asdict(accuracy) for group, accuracy in groups.items()}
        for name, groups in measures.items()
    }
    head = {"protocol": protocol.name, "protocol_hash": protocol.hash, "splits": splits}
    print_json({**head, **said, "phrases_without_box": without_box})


def _print_tables(
    measures: "dict[str, dict[str, Accuracy]]", protocol: "Protocol", splits: list[str], without_box: int
) -> None:
    titles = {
        "pointing": "Pointing accuracy",
        "recall_at_1": f"Recall@1, IoU at least 0.5 ({without_box} phrases without a box, each a miss),",
    }
    for name, groups in measures.items():
        cells = [
            [group, f"{a.percent:.1f}", f"{a.low:.1f} to {a.high:.1f}", str(a.total)]
            for group, a in groups.items()
        ]
        under = f"protocol {protocol.name} ({protocol.hash}), {', '.join(splits)}"
        print_table(
            ["phrases", "accuracy", "95 % interval", "n"], cells, title=f"{titles[name]} in per cent, {under}"
        )
