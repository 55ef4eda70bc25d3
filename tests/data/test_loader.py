"""Batches: a function of seed, step and rank; who may be a negative of whom; mirrored images."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from amc_models.errors import InputError
from amc_models.tokenizer import Tokenizer
from amc_models.vision import PIXEL_MEAN, PIXEL_STD, normalise_pixels
from amc_platform.data.boxes import Box
from amc_platform.data.loader import LoaderConfig, TrainingLoader
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.transforms import decode, mask_of, resize, swap_sides

TOKENIZER = Tokenizer.of_words(
    ["a", "red", "blue", "star", "ring", "on", "the", "left", "right", *(f"n{i}" for i in range(12))]
)
CONFIG = LoaderConfig(
    images_per_batch=4,
    phrases_per_image=2,
    image_size=8,
    mask_size=8,
    max_tokens=9,
    flip="off",
    regions="union",
    mask_words="content",
    false_negatives="exclude",
    seed=0,
)


def row(index: int, texts: list[str], also_true: set[str] | None = None) -> ImageRow:
    pixels = np.full((8, 8, 3), index, np.uint8)
    pixels[:, :4] = 200
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    phrases = tuple(Phrase(text, (Box(0, 2, 3, 5),), "attribute", "", "train", False) for text in texts)
    return ImageRow(f"i{index}", stream.getvalue(), 8, 8, phrases, frozenset(also_true or ()))


ROWS = [row(i, ["a red star", f"a n{i}", "a star"]) for i in range(10)]


def loader(
    rank: int = 0, world_size: int = 1, rows: list[ImageRow] = ROWS, **changes: object
) -> TrainingLoader:
    return TrainingLoader(rows, TOKENIZER, dataclasses.replace(CONFIG, **changes), rank, world_size)  # pyright: ignore


def test_an_epoch_shows_every_image_once_and_drops_the_rest() -> None:
    images = [i for step in range(2) for i in loader().images_of(step)]
    assert len(images) == len(set(images)) == 8
    assert list(loader().images_of(2)) != list(loader().images_of(0))


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    first = loader()
    batches = list(first.batches(0, 5))
    again = loader().batch(3)
    for field in dataclasses.fields(again):
        assert torch.equal(getattr(again, field.name), getattr(batches[3], field.name)), field.name
    resumed = next(loader().batches(3, 5))
    assert torch.equal(resumed.input_ids, batches[3].input_ids)


def test_ranks_share_the_global_batch_in_order() -> None:
    whole = loader().images_of(1)
    parts = [loader(rank, 2).images_of(1) for rank in range(2)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_a_phrase_known_to_hold_is_no_negative() -> None:
    rows = [
        row(0, ["a red star"], {"a star"}),
        row(1, ["a star"]),
        row(2, ["a blue ring"]),
        row(3, ["a ring"], {"a red star"}),
    ]
    made = loader(rows=rows, phrases_per_image=1)
    order = made.images_of(0).tolist()
    allowed = made.batch(0).may_be_negative
    # phrase of image -> images it may be a negative of
    wanted = {0: {1, 2}, 1: {2, 3}, 2: {0, 1, 3}, 3: {0, 1, 2}}
    got = {image: {order[c] for c in range(4) if allowed[p, c]} for p, image in enumerate(order)}
    assert got == wanted
    kept = loader(rows=rows, phrases_per_image=1, false_negatives="keep").batch(0).may_be_negative
    assert torch.equal(kept, ~torch.eye(4, dtype=torch.bool))


def test_content_words_are_maskable() -> None:
    rows = [row(i, ["a red star on the left"]) for i in range(4)]
    assert loader(rows=rows).batch(0).maskable[0].tolist() == [False, False, True, True, False, False, True]
    assert loader(rows=rows, mask_words="all").batch(0).maskable[0].tolist() == [False, *[True] * 6]


def test_mirrored_images_have_mirrored_masks_and_words() -> None:
    rows = [row(i, ["a red star on the left"]) for i in range(40)]
    batch = loader(rows=rows, images_per_batch=40, flip="swap", phrases_per_image=1).batch(0)
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    bright_left = ((batch.images[:, 0, 0, 0] * std[0] + mean[0]) * 255).round() == 200
    assert 8 < int(bright_left.sum()) < 32
    left, right = TOKENIZER.ids["left"], TOKENIZER.ids["right"]
    assert torch.equal(batch.input_ids[:, 6], torch.where(bright_left, left, right))
    assert torch.equal(batch.region_masks[:, 2, 0] == 1, bright_left)
    assert torch.equal(batch.region_masks[:, 2, 7] == 1, ~bright_left)
    plain = loader(rows=rows, images_per_batch=40, flip="plain", phrases_per_image=1).batch(0)
    assert (plain.input_ids[:, 6] == left).all()
    assert torch.equal(plain.region_masks, batch.region_masks)


def test_regions_of_several_boxes() -> None:
    phrase = Phrase("a star", (Box(0, 0, 2, 2), Box(4, 4, 8, 8)), "category", "", "train", False)
    rows = [dataclasses.replace(row(i, ["a"]), phrases=(phrase,)) for i in range(20)]
    changes: dict[str, object] = {"rows": rows, "images_per_batch": 20, "phrases_per_image": 1}
    assert set(loader(**changes).batch(0).region_masks.sum((1, 2)).tolist()) == {20.0}  # pyright: ignore
    one = loader(**changes, regions="one").batch(0).region_masks.sum((1, 2))  # pyright: ignore
    assert set(one.tolist()) == {4.0, 16.0}


def test_more_images_asked_for_than_there_are() -> None:
    with pytest.raises(
        InputError, match=r"data.images_per_batch: 40 images asked for, the training split has 10"
    ):
        loader(images_per_batch=40)


def test_pixels_masks_and_words() -> None:
    assert decode(ROWS[3])[:, 0, 7].tolist() == [3, 3, 3]
    with pytest.raises(InputError, match="image bad: cannot be decoded"):
        decode(dataclasses.replace(ROWS[0], image_id="bad", image=b"no picture"))
    grey = torch.full((3, 4, 4), 51, dtype=torch.uint8)
    assert torch.allclose(resize(grey, 2), torch.full((3, 2, 2), 0.2))
    normal = normalise_pixels(torch.full((1, 3, 1, 1), 0.5))[0, :, 0, 0]
    assert torch.allclose(normal, (0.5 - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD))
    assert mask_of([Box(0, 0, 4, 8)], ROWS[0], 4).tolist() == [[1, 1, 0, 0]] * 4
    assert (
        swap_sides("a star to the left of a ring on the right") == "a star to the right of a ring on the left"
    )
