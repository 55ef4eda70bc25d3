"""`amc compare`: is one row better than another on the same phrases, and where?"""

from pathlib import Path
from typing import Annotated

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import print_json, print_table
from amc_platform.cli.plan import JsonOption

HitsArgument = Annotated[
    Path,
    typer.Argument(help="Hits of an evaluation (.parquet), or the folder of a trial.", show_default=False),
]
SplitOption = Annotated[
    str | None, typer.Option(help="Split to compare, where a trial was evaluated on several.")
]


def compare(
    first: HitsArgument, second: HitsArgument, split: SplitOption = None, as_json: JsonOption = False
) -> None:
    """Print FIRST minus SECOND by kind, category, box size, length and spatial words.

    p is that of a test paired over images; McNemar's takes phrases of one image for independent cases.
    """
    from dataclasses import asdict

    from amc_platform.evaluation import comparison
    from amc_platform.evaluation.groups import detailed_groups
    from amc_platform.evaluation.hits import protocol_of_hits, read_hits

    first, second = _hits_of(first, split), _hits_of(second, split)
    protocol, other = protocol_of_hits(first), protocol_of_hits(second)
    if protocol != other:
        raise InputError(
            f"compare: {first} was measured under {' '.join(protocol)}, {second} under {' '.join(other)};"
            " evaluate both under one protocol"
        )
    groups = comparison.compare([read_hits(first)], [read_hits(second)], detailed_groups)
    if as_json:
        said = {name: asdict(group) for name, group in groups.items()}
        print_json({"protocol": protocol[0], "protocol_hash": protocol[1], "groups": said})
        return
    cells = [
        [
            name,
            f"{group.first:.1f}",
            f"{group.second:.1f}",
            f"{group.difference:+.1f}",
            f"{group.low:+.1f} to {group.high:+.1f}",
            f"{group.p:.2g}",
            f"{group.mcnemar:.2g}",
            str(group.phrases),
        ]
        for name, group in groups.items()
    ]
    heads = ["phrases", "first", "second", "difference", "95 % interval", "p", "McNemar p", "n"]
    print_table(heads, cells, title=f"Accuracy in per cent, protocol {protocol[0]} ({protocol[1]})")


def _hits_of(path: Path, split: str | None) -> Path:
    """The file itself; of a trial's folder the hits of its evaluation, which must be one."""
    if not path.is_dir():
        if split is not None:
            raise InputError(f"--split: no effect on {path}, which is a file of hits; leave it out")
        return path
    found = sorted(path.glob("evaluations/*/hits.parquet"))
    # A folder of an evaluation is named by split and identity.
    chosen = [file for file in found if split in (None, file.parent.name.rpartition("-")[0])]
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise InputError(
            f"{path}: no evaluation is there; name a hits.parquet, or the folder of a done trial"
        )
    names = ", ".join(f"evaluations/{file.parent.name}/hits.parquet" for file in chosen or found)
    problem = "several evaluations are" if chosen else f"no evaluation on {split} is"
    raise InputError(f"{path}: {problem} there; choose a split by --split, or one of {names}")
