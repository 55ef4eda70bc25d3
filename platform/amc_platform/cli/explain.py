"""`amc explain`: where a network looks for a phrase."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amc_models.errors import InputError
from amc_platform.cli.console import print_json, say
from amc_platform.cli.evaluate import CheckpointArgument, ProtocolOption, VocabularyOption
from amc_platform.cli.plan import JsonOption

if TYPE_CHECKING:
    from amc_platform.data.rows import ImageRow

MAPS = "heatmaps.npz"


def explain(
    checkpoint: CheckpointArgument,
    image: Annotated[Path, typer.Argument(help="Picture (PNG or JPEG).", show_default=False)],
    phrases: Annotated[list[str], typer.Argument(help="What to look for.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the pictures and of heatmaps.npz; replaced.")] = Path(
        "explained"
    ),
    protocol: ProtocolOption = None,
    vocabulary: VocabularyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the heatmap of each phrase over IMAGE, keep the raw maps, and print where each points and its score."""
    import numpy as np
    from PIL import Image

    from amc_platform.data.transforms import pixels_of
    from amc_platform.evaluation.evaluator import heatmaps_of_rows, score_row
    from amc_platform.evaluation.network import heatmaps_of, image_loader, load_network
    from amc_platform.evaluation.overlay import heatmap_overlay
    from amc_platform.evaluation.protocol import Protocol
    from amc_platform.files import atomic_path

    chosen = Protocol.find(protocol or "scenes")
    row = _row(image, phrases)
    model = load_network(checkpoint, chosen, vocabulary)
    heatmaps = heatmaps_of_rows(heatmaps_of(model), [row], chosen, image_loader(model, chosen))
    hits, maps = score_row(row, heatmaps, chosen), heatmaps.float().cpu().numpy()
    picture = Image.fromarray(pixels_of(row))
    results: list[dict[str, Any]] = []
    with atomic_path(out) as folder:
        folder.mkdir()
        for number, (hit, heatmap) in enumerate(zip(hits, maps, strict=True), start=1):
            slug = re.sub(r"[^a-z0-9]+", "-", hit.text.lower()).strip("-")[:40]
            name = f"{number:02d}-{slug}.png"
            heatmap_overlay(picture, heatmap, (), hit.point, hit.text, None).save(folder / name)
            results.append(
                {"phrase": hit.text, "point": hit.point, "score": hit.score, "picture": str(out / name)}
            )
        np.savez(
            folder / MAPS,
            maps=maps,
            phrases=np.array([hit.text for hit in hits]),
            points=np.array([hit.point for hit in hits]),
            scores=np.array([hit.score for hit in hits]),
        )
    if as_json:
        maps_at = str(out / MAPS)
        print_json(
            {"protocol": chosen.name, "protocol_hash": chosen.hash, "maps": maps_at, "phrases": results}
        )
        return
    for result in results:
        x, y = result["point"]
        say(f"{result['picture']}: {result['phrase']!r} points at x {x}, y {y}, score {result['score']:.3g}")
    say(f"{out / MAPS}: raw maps, {maps.shape[1]} x {maps.shape[2]}")


def _row(path: Path, texts: list[str]) -> "ImageRow":
    """The picture as a row of a table without boxes."""
    from PIL import Image, UnidentifiedImageError

    from amc_platform.data.rows import ImageRow, Phrase

    try:
        with Image.open(path) as opened:
            width, height = opened.size
            opened.load()
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: cannot be read as a picture; give a PNG or JPEG") from error
    phrases = tuple(Phrase(text, (), "", "", "", False) for text in texts)
    return ImageRow(path.name, path.read_bytes(), width, height, phrases, frozenset())
