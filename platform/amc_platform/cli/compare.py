"""`amc compare`: is one row better than another on the same phrases, and where?"""

from pathlib import Path
from typing import Annotated

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import print_json, print_table
from amc_platform.cli.plan import JsonOption

HitsArgument = Annotated[Path, typer.Argument(help="Hits of an evaluation (.parquet).", show_default=False)]


def compare(first: HitsArgument, second: HitsArgument, as_json: JsonOption = False) -> None:
    """Print FIRST minus SECOND by kind, category, box size, length and spatial words, with McNemar's test."""
    from dataclasses import asdict

    from amc_platform.evaluation import comparison
    from amc_platform.evaluation.groups import detailed_groups
    from amc_platform.evaluation.hits import protocol_of_hits, read_hits

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
            str(group.phrases),
        ]
        for name, group in groups.items()
    ]
    heads = ["phrases", "first", "second", "difference", "95 % interval", "McNemar p", "n"]
    print_table(heads, cells, title=f"Accuracy in per cent, protocol {protocol[0]} ({protocol[1]})")
