"""`amc prepare coco`."""

from typing import Annotated

import typer

from amc_platform.cli.prepare.options import Images, Raw, Splits, TableOptions, finish, table_options


@table_options
def coco(
    raw: Raw,
    split: Splits = None,
    template: Annotated[str, typer.Option(help="Text of a label, which replaces {}.")] = "an image of a {}",
    images: Images = None,
    *,
    options: TableOptions,
) -> None:
    """COCO: the label of a category as a text about all its objects in an image.

    DIR holds instances_SPLIT.json, or a folder `annotations` with it.
    """
    from amc_platform.data.sources.coco import read_coco

    finish(read_coco(raw, split or [], template, options.pictures, images), options)
