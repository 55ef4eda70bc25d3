"""`amc prepare flickr30k-entities`."""

from typing import Annotated

import typer

from amc_platform.cli.prepare.options import Images, Raw, Splits, TableOptions, finish, table_options


@table_options
def flickr30k_entities(
    raw: Raw,
    split: Splits = None,
    images: Images = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder of Annotations/ and Sentences/, where they are not below --raw."
        ),
    ] = None,
    *,
    options: TableOptions,
) -> None:
    """Flickr30k Entities: phrases of captions and the boxes of what they name.

    DIR holds Annotations/, Sentences/, flickr30k-images/ and train.txt, val.txt, test.txt.
    """
    from amc_platform.data.sources.flickr30k_entities import read_flickr30k_entities

    material = read_flickr30k_entities(raw, split or [], options.pictures, images, annotations)
    finish(material, options)
