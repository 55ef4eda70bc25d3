"""`amc explain`: where a network looks for a phrase."""

from pathlib import Path
from typing import Annotated

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import say
from amc_platform.cli.evaluate import CheckpointArgument


def explain(
    checkpoint: CheckpointArgument,
    image: Annotated[Path, typer.Argument(help="Picture (PNG or JPEG).", show_default=False)],
    phrase: Annotated[str, typer.Argument(help="What to look for.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where the picture with its heatmap goes.")] = Path("heatmap.png"),
) -> None:
    """Draw the heatmap of PHRASE over IMAGE and print the pixel it points at."""
    from PIL import Image, UnidentifiedImageError

    from amc_models.weights import load_checkpoint
    from amc_platform.data.rows import ImageRow
    from amc_platform.evaluation.network import heatmaps_of, image_loader
    from amc_platform.evaluation.overlay import heatmap_overlay
    from amc_platform.evaluation.pointing import points
    from amc_platform.evaluation.protocol import Protocol
    from amc_platform.files import atomic_path

    try:
        with Image.open(image) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{image}: cannot be read as a picture; give a PNG or JPEG") from error
    model = load_checkpoint(checkpoint).eval()
    row = ImageRow(image.name, image.read_bytes(), picture.width, picture.height, (), frozenset())
    loaded = image_loader(model, Protocol.named("scenes"))(row)
    heatmap = heatmaps_of(model)(loaded[None], [[phrase]])
    (point,) = points(heatmap, picture.width, picture.height)
    drawn = heatmap_overlay(picture, heatmap[0].cpu().numpy(), (), point, phrase, None)
    with atomic_path(out) as temporary:
        drawn.save(temporary, format="PNG")
    say(f"{out}: {phrase!r} points at x {point[0]}, y {point[1]}")
