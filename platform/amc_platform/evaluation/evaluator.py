"""Evaluation: heatmaps of a table's phrases turned into hits."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.errors import InputError
from amc_platform.data.boxes import Box, center
from amc_platform.data.table import ImageRow, Phrase
from amc_platform.evaluation.box_recall import best_proposal, is_recalled
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.pointing import is_hit, points, upsampled
from amc_platform.evaluation.proposals import BestBoxes, Proposals
from amc_platform.evaluation.protocol import Protocol

HeatmapsOf = Callable[
    [Float[Tensor, "images 3 height width"], list[list[str]]], Float[Tensor, "pairs grid_h grid_w"]
]
"""A network in evaluation: images and, for each, its phrases, to heatmaps in order image by image."""

LoadImage = Callable[[ImageRow], Float[Tensor, "3 height width"]]
"""A row's picture as the network wants it: resized as the protocol says, on the network's device."""

IMAGES_PER_BATCH = 16


def batches_of(rows: Sequence[ImageRow]) -> list[Sequence[ImageRow]]:
    """The batches in which rows are evaluated, whoever evaluates which: sums over another batch round differently."""
    return [rows[first : first + IMAGES_PER_BATCH] for first in range(0, len(rows), IMAGES_PER_BATCH)]


def evaluate(
    heatmaps_of: HeatmapsOf,
    rows: Sequence[ImageRow],
    protocol: Protocol,
    load_image: LoadImage,
    *,
    proposals: Proposals | None = None,
) -> list[Hit]:
    """Score every phrase of every row; an image is encoded once for all its phrases.

    Raises InputError where a heatmap is not finite: such a network has diverged, and its pointing targets would look
    like an answer.
    """
    hits: list[Hit] = []
    for batch in batches_of(rows):
        heatmaps = heatmaps_of_rows(heatmaps_of, batch, protocol, load_image)
        for row, of_row in zip(batch, heatmaps.split([len(row.phrases) for row in batch]), strict=True):
            hits += score_row(row, of_row, protocol, None if proposals is None else proposals.of(row))
    return hits


def score_row(
    row: ImageRow,
    heatmaps: Float[Tensor, "phrases grid_h grid_w"],
    protocol: Protocol,
    proposals: Sequence[Box] | None = None,
) -> list[Hit]:
    """The hits of one image, given the heatmaps of its phrases and, for Recall@1, a detector's boxes."""
    if not row.phrases:
        return []
    targets = points(heatmaps, row.width, row.height)
    scores: list[float] = heatmaps.flatten(1).amax(1).tolist()
    chosen: list[Box | None] = [None] * len(targets)
    if proposals:
        chosen = [best_proposal(one, proposals) for one in upsampled(heatmaps, row.width, row.height)]
    return [
        _hit(row, index, protocol, point, score, box, measured=proposals is not None)
        for index, (point, score, box) in enumerate(zip(targets, scores, chosen, strict=True))
    ]


def score_boxes(rows: Sequence[ImageRow], boxes: BestBoxes, protocol: Protocol) -> list[Hit]:
    """Hits of a detector that gives one box a phrase: the point is its centre, and no box is a miss."""
    return [
        _hit(row, index, protocol, center(box) if box else None, 0.0, box, measured=True)
        for row in rows
        for index, box in enumerate(boxes.of(row, phrase) for phrase in row.phrases)
    ]


def _hit(
    row: ImageRow,
    index: int,
    protocol: Protocol,
    point: tuple[float, float] | None,
    score: float,
    chosen: Box | None,
    *,
    measured: bool,
) -> Hit:
    phrase: Phrase = row.phrases[index]
    return Hit(
        image_id=row.image_id,
        phrase_index=index,
        text=phrase.text,
        kind=phrase.kind,
        category=phrase.category,
        split=phrase.split,
        hard=phrase.hard,
        boxes=phrase.boxes,
        size=(row.width, row.height),
        point=point,
        hit=point is not None and is_hit(point, phrase.boxes, protocol),
        score=score,
        chosen=chosen,
        recall=is_recalled(chosen, phrase.boxes) if measured else None,
    )


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
