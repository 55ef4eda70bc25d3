"""Taking the shots of a gallery."""

from collections.abc import Sequence

from amc_platform.data.table import ImageRow
from amc_platform.evaluation.evaluator import HeatmapsOf, LoadImage, heatmaps_of_rows, score_row
from amc_platform.evaluation.gallery import Shot
from amc_platform.evaluation.protocol import Protocol


def take_shots(
    heatmaps_of: HeatmapsOf, rows: Sequence[ImageRow], protocol: Protocol, load_image: LoadImage
) -> list[Shot]:
    """Heatmaps and hits of the rows that `gallery_rows` chose; one batch, as they are few."""
    if not rows:
        return []
    heatmaps = heatmaps_of_rows(heatmaps_of, rows, protocol, load_image).float().cpu()
    return [
        Shot(score_row(row, heatmap[None], protocol)[0], row.image, heatmap.numpy())
        for row, heatmap in zip(rows, heatmaps, strict=True)
    ]
