"""`amc prepare refcoco` and `amc prepare referit`."""

from typing import Annotated, Literal

import typer

from amc_platform.cli.prepare.options import Images, Raw, Splits, TableOptions, finish, table_options


@table_options
def refcoco(
    raw: Raw,
    dataset: Annotated[Literal["refcoco", "refcoco+", "refcocog"], typer.Option(help="Which of the three.")],
    split_by: Annotated[
        Literal["unc", "google", "umd"] | None,
        typer.Option(help="Whose split: unc if not given, of RefCOCOg umd."),
    ] = None,
    split: Splits = None,
    images: Images = None,
    *,
    options: TableOptions,
) -> None:
    """RefCOCO, RefCOCO+ or RefCOCOg: expressions that refer to one object of a COCO image.

    DIR holds refs(SPLIT_BY).p and instances.json, or the dataset's folder with them.
    """
    _prepare(raw, dataset, split_by, split, images, options)


@table_options
def referit(
    raw: Raw,
    split_by: Annotated[
        Literal["berkeley", "unc"] | None, typer.Option(help="Whose split: berkeley if not given.")
    ] = None,
    split: Splits = None,
    images: Images = None,
    *,
    options: TableOptions,
) -> None:
    """ReferIt (RefClef): expressions that refer to one region of an image of SAIAPR TC-12.

    DIR holds refs(SPLIT_BY).p and instances.json, or the folder refclef with them.
    """
    _prepare(raw, "refclef", split_by, split, images, options)


def _prepare(
    raw: str,
    dataset: str,
    split_by: str | None,
    split: list[str] | None,
    images: str | None,
    options: TableOptions,
) -> None:
    from amc_platform.data.sources.refer import read_refer

    material = read_refer(raw, dataset, split_by, split or [], options.pictures, images)
    finish(material, options)
