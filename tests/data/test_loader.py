"""Batches: a function of seed and step, for any workers and threads; negatives, regions, mirrored images."""

import dataclasses
import io
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from amc_models.batch import Batch
from amc_models.errors import InputError
from amc_models.pixels import PIXEL_MEAN, PIXEL_STD
from amc_models.tokenizer import Tokenizer
from amc_platform.data.boxes import Box
from amc_platform.data.loader import LoaderConfig, TrainingLoader
from amc_platform.data.rows import ImageRow, Phrase

TOKENIZER = Tokenizer.of_words(
    ["a", "red", "blue", "star", "ring", "on", "the", "left", "right", *(f"n{i}" for i in range(12))]
)
CONFIG = LoaderConfig(
    images_per_batch=4,
    phrases_per_image=2,
    image_size=8,
    mask_size=8,
    max_tokens=9,
    preset="none",
    flip="off",
    regions="union",
    empty_regions="skip",
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


def images_of(made: TrainingLoader, step: int) -> list[int]:
    return made.sampler.share(made.sampler.state(step)).tolist()


def same(one: Batch, other: Batch) -> bool:
    # `regions` is looked for when a step begins.
    drawn = [f.name for f in dataclasses.fields(one) if f.name != "regions"]
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in drawn)


def words_of(batch: Batch) -> list[list[int]]:
    """Tokens without padding, whose length is a matter of the share."""
    return [row[kept].tolist() for row, kept in zip(batch.input_ids, batch.attention_mask, strict=True)]


@given(
    workers=st.sampled_from([2, 3, 6]),
    step=st.integers(0, 7),
    seed=st.integers(0, 99),
    preset=st.sampled_from(["none", "paper", "published"]),
)
@settings(max_examples=30)
def test_any_number_of_workers_shares_one_global_batch(
    workers: int, step: int, seed: int, preset: str
) -> None:
    changes: dict[str, object] = {"images_per_batch": 6, "seed": seed, "preset": preset, "flip": "swap"}
    whole = loader(**changes).batch(step)  # pyright: ignore
    parts = [loader(rank, workers, **changes).batch(step) for rank in range(workers)]  # pyright: ignore
    for name in ("images", "region_masks", "has_region"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name)), name
    assert [words for part in parts for words in words_of(part)] == words_of(whole)
    # Negatives are found within a share: blocks on the diagonal of the whole.
    assert torch.equal(
        torch.block_diag(*[part.may_be_negative for part in parts]),
        whole.may_be_negative & torch.block_diag(*[torch.ones_like(part.may_be_negative) for part in parts]),
    )


@given(start=st.integers(0, 11), threads=st.integers(1, 4))
@settings(max_examples=20)
def test_started_anywhere_with_any_threads_is_never_stopped(start: int, threads: int) -> None:
    undisturbed = [loader(preset="published").batch(step) for step in range(12)]
    resumed = list(loader(preset="published", threads=threads).batches(start, 12))
    assert len(resumed) == 12 - start
    assert all(map(same, undisturbed[start:], resumed))
    assert not same(undisturbed[0], undisturbed[1])


def test_an_image_is_shown_anew_in_another_epoch() -> None:
    made = loader(images_per_batch=10, preset="published", phrases_per_image=1)
    first, second = made.batch(0), made.batch(1)
    back = [images_of(made, 1).index(image) for image in images_of(made, 0)]
    assert not torch.equal(first.images, second.images[back])


class Slow(list[ImageRow]):
    """Rows that take their time."""

    def __getitem__(self, index: int) -> ImageRow:  # pyright: ignore
        time.sleep(0.01)
        return super().__getitem__(index)


def test_waiting_for_batches_is_measured_and_batches_are_made_meanwhile() -> None:
    slow = loader(rows=Slow(ROWS))
    list(slow.batches(0, 5))
    # Five batches of four images, 10 ms each, and nothing else to do meanwhile.
    assert slow.waited_s > 0.15
    busy = loader(rows=Slow(ROWS))
    for _ in busy.batches(0, 5):
        time.sleep(0.1)
    # Only the first batch is waited for.
    assert busy.waited_s < 0.1


def test_a_caller_that_stops_early_is_let_go() -> None:
    batches = loader(rows=Slow(ROWS), threads=2).batches(0, 1000)
    next(batches)
    batches.close()  # pyright: ignore


def test_an_unreadable_image_is_the_callers_error() -> None:
    rows = [*ROWS[:9], dataclasses.replace(ROWS[9], image_id="bad", image=b"no picture")]
    with pytest.raises(InputError, match="image bad: cannot be decoded"):
        list(loader(rows=rows, images_per_batch=10).batches(0, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_batches_for_a_gpu_are_page_locked() -> None:
    batch = loader(pin_memory=True).batch(0)
    assert all(getattr(batch, f.name).is_pinned() for f in dataclasses.fields(batch))


def test_a_phrase_known_to_hold_is_no_negative() -> None:
    rows = [
        row(0, ["a red star"], {"a star"}),
        row(1, ["a star"]),
        row(2, ["a blue ring"]),
        row(3, ["a ring"], {"a red star"}),
    ]
    made = loader(rows=rows, phrases_per_image=1)
    order = images_of(made, 0)
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


def test_a_degenerate_box_is_drawn_again_while_there_are_others() -> None:
    boxes = (Box(3, 3, 3, 8), Box(4, 4, 8, 8), Box(5, 5, 9, 2))
    phrase = Phrase("a star", boxes, "category", "", "train", False)
    rows = [dataclasses.replace(row(i, ["a"]), phrases=(phrase,)) for i in range(20)]
    for preset in ("none", "paper", "published"):
        made = loader(rows=rows, images_per_batch=20, phrases_per_image=1, regions="one", preset=preset)
        assert set(made.batch(0).region_masks.sum((1, 2)).tolist()) == {16.0}


@pytest.mark.parametrize("regions", ["one", "union"])
@pytest.mark.parametrize("boxes", [(), (Box(3, 3, 3, 8),), (Box(3, 3, 3, 8), Box(5, 6, 5, 7))])
def test_an_empty_region_is_skipped_or_an_error(boxes: tuple[Box, ...], regions: str) -> None:
    empty = Phrase("a star", boxes, "category", "", "train", False)
    rows = [*ROWS[:3], dataclasses.replace(ROWS[3], phrases=(empty,))]
    changes: dict[str, object] = {"rows": rows, "phrases_per_image": 1, "regions": regions}
    made = loader(**changes)  # pyright: ignore
    assert made.batch(0).has_region.tolist() == [image != 3 for image in images_of(made, 0)]
    with pytest.raises(
        InputError, match=r"image i3: the region of 'a star' is empty; .* data\.empty_regions"
    ):
        loader(**changes, empty_regions="error").batch(0)  # pyright: ignore


def test_more_images_asked_for_than_there_are() -> None:
    with pytest.raises(
        InputError, match=r"data.images_per_batch: 40 images asked for, the training split has 10"
    ):
        loader(images_per_batch=40)


@pytest.mark.parametrize("false_negatives", ["exclude", "keep"])
@pytest.mark.parametrize("flip", ["off", "swap"])
def test_workers_agree_on_the_whole_batch(false_negatives: str, flip: str) -> None:
    options: dict[str, Any] = {"false_negatives": false_negatives, "flip": flip, "whole_batch": True}
    for step in range(4):
        alone = loader(**options).batch(step)
        shares = [loader(rank, 2, **options).batch(step) for rank in range(2)]
        for name in ("images", "input_ids", "attention_mask", "may_be_negative", "maskable", "region_masks"):
            assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(alone, name)), (
                name
            )
        assert alone.input_ids.shape[1] == CONFIG.max_tokens
        assert [tuple(share.may_be_negative.shape) for share in shares] == [(4, 4), (4, 4)]
        trimmed = loader(false_negatives=false_negatives, flip=flip).batch(step)
        assert torch.equal(trimmed.may_be_negative, alone.may_be_negative)
