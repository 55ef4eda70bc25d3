"""The embedded dataset: procedural scenes whose phrases must be read to be grounded.

Every scene depends on (seed, split, index, image size) alone, so any number of processes makes the
same table.
"""

import random
from collections.abc import Sequence

from amc_platform.data.rows import ImageRow
from amc_platform.data.sources.scenes.baselines import Tally
from amc_platform.data.sources.scenes.layout import UNSEEN, make_scene
from amc_platform.data.sources.scenes.objects import (
    COLOURS,
    FUNCTION_WORDS,
    HELD_OUT_PAIRS,
    SHAPES,
    VOCABULARY,
    Scene,
)
from amc_platform.data.sources.scenes.phrases import listed_phrases, true_texts
from amc_platform.data.sources.scenes.render import encode_png, render

__all__ = [
    "COLOURS",
    "FUNCTION_WORDS",
    "GENERATOR_VERSION",
    "HELD_OUT_PAIRS",
    "MIN_IMAGE_SIZE",
    "SHAPES",
    "UNSEEN",
    "VOCABULARY",
    "Scene",
    "Tally",
    "generate",
    "scene_and_row",
]

GENERATOR_VERSION = 1
"""Raised with every change of what a seed yields."""
MIN_IMAGE_SIZE = 32
"""Below this many pixels the shapes cannot be told apart."""


def scene_and_row(seed: int, split: str, index: int, image_size: int) -> tuple[Scene, ImageRow]:
    """Scene number `index` of `split` and its row in the grounding table."""
    rng = random.Random(f"{seed}/{split}/{index}")
    scene = make_scene(rng, split, index, image_size)
    phrases = listed_phrases(scene, rng)
    also_true = true_texts(scene) - {phrase.text for phrase in phrases}
    image = encode_png(render(scene, rng))
    row = ImageRow(f"{split}-{index:06d}", image, image_size, image_size, phrases, also_true)
    return scene, row


def generate(seed: int, split: str, indices: Sequence[int], image_size: int) -> tuple[list[ImageRow], Tally]:
    """Rows of the scenes `indices`, and what the baselines score on their phrases."""
    rows: list[ImageRow] = []
    tally = Tally()
    for index in indices:
        scene, row = scene_and_row(seed, split, index, image_size)
        for phrase in row.phrases:
            tally.add(scene, phrase)
        rows.append(row)
    return rows, tally
