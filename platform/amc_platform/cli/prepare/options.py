"""The options that every source of `amc prepare` has but the embedded one, and how its command ends."""

import inspect
import json as json_text
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from amc_models.errors import InputError
from amc_platform.cli import console

if TYPE_CHECKING:
    from amc_platform.data.material import Material, Pictures
    from amc_platform.data.shards import Prepared, Writing

FAILED = 1

Raw = Annotated[
    str, typer.Option("--raw", metavar="DIR", help="Folder of the raw files, or an s3:// address.")
]
Images = Annotated[
    str | None,
    typer.Option("--images", metavar="DIR", help="Folder of the images, where it is not below --raw."),
]
Splits = Annotated[
    list[str] | None,
    typer.Option("--split", help="Split to take; may be given several times; all if not given."),
]


@dataclass(frozen=True)
class TableOptions:
    """What of the command line concerns the table and not the source."""

    out: str
    pictures: "Pictures"
    writing: "Writing"
    json: bool


def read_options(
    out: Annotated[str, typer.Option("--out", help="The table to write: a folder of Parquet files.")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Store images this small, in pixels; as they are if not given.")
    ] = None,
    fit: Annotated[
        Literal["longest", "square"] | None,
        typer.Option(help="--image-size is the longest edge (the usual), or both edges."),
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="JPEG quality with --image-size: 90.")
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="A table of annotations only.")] = False,
    only_present: Annotated[
        bool,
        typer.Option(
            "--only-present", help="Leave images out that are not there, instead of rejecting them."
        ),
    ] = False,
    shard_mb: Annotated[int, typer.Option(min=1, help="Size of a file of the table, about, in MB.")] = 256,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes, or tasks at once with --on-ray; one a core if not given."),
    ] = None,
    on_ray: Annotated[
        bool,
        typer.Option(
            "--on-ray", help="Read images on the Ray cluster at RAY_ADDRESS; without it, on a new one."
        ),
    ] = False,
    max_rejected: Annotated[
        float,
        typer.Option(min=0, max=1, help="Part of images, texts or boxes above which rejecting is an error."),
    ] = 0.001,
    json: Annotated[bool, typer.Option("--json", help="Print counts as one line of JSON.")] = False,
) -> TableOptions:
    """The options that `table_options` gives to a command."""
    from amc_platform.data.material import Pictures
    from amc_platform.data.shards import Writing
    from amc_platform.data.storing import Storing

    idle = {
        "--fit": fit and not image_size,
        "--quality": quality and not image_size,
        "--image-size": image_size and no_images,
        "--only-present": only_present and no_images,
        "--on-ray": on_ray and no_images,
        "--workers": workers and no_images,
    }
    for name in (name for name, is_idle in idle.items() if is_idle):
        why = "with --no-images" if no_images else "without --image-size"
        raise InputError(f"{name} has no effect {why}; leave it out")
    storing = Storing(image_size, fit or "longest", quality or 90)
    writing = Writing(storing, shard_mb * 1_000_000, workers, on_ray, max_rejected)
    return TableOptions(out, Pictures(not no_images, only_present), writing, json)


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options of `read_options` besides its own; it receives them as `options`."""
    shared = inspect.signature(read_options).parameters
    own = {name: p for name, p in inspect.signature(command).parameters.items() if name != "options"}

    @wraps(command)
    def with_options(**given: Any) -> None:
        options = read_options(**{name: given.pop(name) for name in shared})
        command(**given, options=options)

    every = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *shared.values())]
    with_options.__signature__ = inspect.Signature(every)  # pyright: ignore[reportAttributeAccessIssue]
    with_options.__annotations__ = {p.name: p.annotation for p in every}
    return with_options


def finish(material: "Material", options: TableOptions) -> None:
    """Write the table and print what is in it. Leaves with 1 where too much was rejected."""
    from amc_platform.data.rejected import TooManyRejectedError
    from amc_platform.data.shards import prepare_material

    try:
        with console.progress("images") as report:
            prepared = prepare_material(material, options.out, options.writing, report)
    except TooManyRejectedError as error:
        console.note(f"amc: {error}")
        raise typer.Exit(FAILED) from error
    if prepared.was_there:
        console.note(f"{prepared.table}: was there and is left as it is; delete it to make it anew")
    if options.json:
        console.say(json_text.dumps(_facts(prepared), ensure_ascii=False))
    else:
        _show(prepared)


def _facts(prepared: "Prepared") -> dict[str, Any]:
    from amc_platform.data.published_counts import compare

    rejected = {**prepared.rejected, "file": prepared.rejected_file}
    names = {"table": prepared.table, "content_hash": prepared.info.content_hash}
    published = [comparison._asdict() for comparison in compare(prepared.info)]
    return {**prepared.counts, "rejected": rejected, **names, "published": published}


def _show(prepared: "Prepared") -> None:
    from amc_platform.data.published_counts import compare

    info = prepared.info
    console.say(f"{prepared.table}: {info.counts['images']:,} images, content {info.content_hash}")
    rows = [
        [f"{name} {member}".replace("_", " ").rstrip(), f"{count:,}"]
        for name, value in prepared.counts.items()
        for member, count in (value.items() if isinstance(value, dict) else [("", value)])
    ]
    console.print_table(["counted", ""], rows)
    for split, what, here, published in compare(info):
        console.say(f"{split} {what}: {here:,} here, {published:,} published")
    if any(prepared.rejected.values()):
        found = ", ".join(f"{count:,} {name}" for name, count in prepared.rejected.items())
        console.say(f"rejected: {found}; see {prepared.rejected_file}")
