"""Evaluation: heatmaps of a table's phrases turned into hits."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.errors import InputError
from amc_platform.data.table import ImageRow
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.pointing import is_hit, points
from amc_platform.evaluation.protocol import Protocol

HeatmapsOf = Callable[
    [Float[Tensor, "images 3 height width"], list[list[str]]], Float[Tensor, "pairs grid_h grid_w"]
]
"""A network in evaluation: images and, for each, its phrases, to heatmaps in order image by image."""

LoadImage = Callable[[ImageRow], Float[Tensor, "3 height width"]]
"""A row's picture as the network wants it: resized as the protocol says, on the network's device."""


def evaluate(
    heatmaps_of: HeatmapsOf,
    rows: Sequence[ImageRow],
    protocol: Protocol,
    load_image: LoadImage,
    *,
    images_per_batch: int = 32,
    progress: Callable[[int], object] | None = None,
) -> list[Hit]:
    """Score every phrase of every row; an image is encoded once for all its phrases.

    `progress` is called with the number of images done since its last call. Raises InputError where a heatmap
    is not finite: such a network has diverged, and its pointing targets would look like an answer.
    """
    hits: list[Hit] = []
    for first in range(0, len(rows), images_per_batch):
        batch = rows[first : first + images_per_batch]
        heatmaps = heatmaps_of_rows(heatmaps_of, batch, protocol, load_image)
        for row, of_row in zip(batch, heatmaps.split([len(row.phrases) for row in batch]), strict=True):
            hits += score_row(row, of_row, protocol)
        if progress is not None:
            progress(len(batch))
    return hits


def score_row(
    row: ImageRow, heatmaps: Float[Tensor, "phrases grid_h grid_w"], protocol: Protocol
) -> list[Hit]:
    """The hits of one image, given the heatmaps of its phrases."""
    if not row.phrases:
        return []
    scores: list[float] = heatmaps.flatten(1).amax(1).tolist()
    targets = points(heatmaps, row.width, row.height)
    return [
        Hit(
            image_id=row.image_id,
            phrase_index=index,
            text=phrase.text,
            kind=phrase.kind,
            category=phrase.category,
            split=phrase.split,
            hard=phrase.hard,
            boxes=phrase.boxes,
            point=point,
            hit=is_hit(point, phrase.boxes, protocol),
            score=score,
        )
        for index, (phrase, point, score) in enumerate(zip(row.phrases, targets, scores, strict=True))
    ]


def heatmaps_of_rows(
    heatmaps_of: HeatmapsOf, rows: Sequence[ImageRow], protocol: Protocol, load_image: LoadImage
) -> Float[Tensor, "pairs grid_h grid_w"]:
    """Checked heatmaps of all the phrases of a batch of rows, in order row by row."""
    images = torch.stack([load_image(row) for row in rows])
    texts = [[protocol.words(phrase.text) for phrase in row.phrases] for row in rows]
    heatmaps = heatmaps_of(images, texts).detach()
    pairs = [text for of_row in texts for text in of_row]
    if len(heatmaps) != len(pairs):
        raise ValueError(f"expected a heatmap for each of {len(pairs)} phrases, got {len(heatmaps)}")
    finite = heatmaps.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        phrase = pairs[int(finite.int().argmin())]
        raise InputError(
            f"evaluation: the heatmap of {phrase!r} is not finite; the weights have diverged,"
            " lower training.lr or set training.clip_norm"
        )
    return heatmaps
