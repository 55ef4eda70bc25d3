"""`amc prepare visual-genome`."""

from typing import Annotated, Literal

import typer

from amc_platform.cli.prepare.options import Images, Raw, TableOptions, finish, table_options


@table_options
def visual_genome(
    raw: Raw,
    texts: Annotated[
        Literal["box", "region", "both"],
        typer.Option(help="Attribute and spatial texts of boxes, region descriptions, or both (Table 3a)."),
    ] = "both",
    min_area: Annotated[
        float, typer.Option(help="Leave out boxes of objects that cover less of the image.")
    ] = 0.08,
    images: Images = None,
    *,
    options: TableOptions,
) -> None:
    """Visual Genome: texts made from objects, attributes and their places, and region descriptions.

    DIR holds image_data.json, objects.json, attributes.json and region_descriptions.json, VG_100K/ and VG_100K_2/.
    """
    from amc_platform.data.sources.visual_genome import read_visual_genome

    finish(read_visual_genome(raw, texts, options.pictures, images, min_area=min_area), options)
