"""Scenes against an independent reading of their language."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from amc_platform.data.boxes import Box, contains_point_strict
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.data.sources.scenes import (
    COLOURS,
    FUNCTION_WORDS,
    HELD_OUT_PAIRS,
    SHAPES,
    VOCABULARY,
    Scene,
    scene_and_row,
)
from amc_platform.data.sources.scenes.baselines import Tally
from amc_platform.data.sources.scenes.objects import Pair, SceneObject
from amc_platform.data.sources.scenes.render import render
from amc_platform.data.sources.scenes.stencils import stencil

SPLITS = ("train", "val", "test", "unseen")
NUMBER = 45


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Scene, ImageRow]]:
    return [scene_and_row(0, split, index, 64) for split in SPLITS for index in range(NUMBER)]


def matching(text: str, scene: Scene) -> list[SceneObject]:
    """Objects that `text` is true of; written anew, from the words alone."""
    words = text.split()
    end = next(i for i, word in enumerate(words) if word in SHAPES) + 1
    fits = [o for o in scene.objects if words[1:end] == described(o, words[1:end])]
    rest = words[end:]
    half = scene.image_size / 2
    if not rest:
        return fits
    if rest[0] in ("on", "at"):
        tests = {
            "left": lambda x, y: x < half,
            "right": lambda x, y: x > half,
            "top": lambda x, y: y < half,
            "bottom": lambda x, y: y > half,
        }
        return [o for o in fits if all(tests[word](*o.center) for word in rest[2:])]
    sign, axis = {"above": (-1, 1), "below": (1, 1), "left": (-1, 0), "right": (1, 0)}[
        rest[0] if rest[0] != "to" else rest[2]
    ]
    others = [o for o in scene.objects if o.pair == Pair(rest[-2], rest[-1])]
    return [
        o for o in fits if any(o is not p and sign * (o.center[axis] - p.center[axis]) > 0 for p in others)
    ]


def described(o: SceneObject, words: list[str]) -> list[str]:
    truths = {o.size, o.texture, o.pair.colour, o.pair.shape} - {"plain"}
    return words if set(words) <= truths else []


def test_every_text_true_of_a_scene_is_known_to_its_row(scenes: list[tuple[Scene, ImageRow]]) -> None:
    said = {phrase.text for _, row in scenes for phrase in row.phrases}
    said |= {text for _, row in scenes[::17] for text in row.also_true}
    assert len(said) > 1000
    for scene, row in scenes:
        known = row.also_true | {phrase.text for phrase in row.phrases}
        assert {text for text in said if matching(text, scene)} == said & known


def test_nothing_untrue_is_known(scenes: list[tuple[Scene, ImageRow]]) -> None:
    for scene, row in scenes:
        assert all(matching(text, scene) for text in row.also_true)
        assert not row.also_true & {phrase.text for phrase in row.phrases}


def test_a_phrase_refers_to_its_boxes_and_to_nothing_else(scenes: list[tuple[Scene, ImageRow]]) -> None:
    for scene, row in scenes:
        for phrase in row.phrases:
            assert {o.box for o in matching(phrase.text, scene)} == set(phrase.boxes)
            assert phrase.kind == "category" or len(phrase.boxes) == 1


def test_hard_is_what_it_says(scenes: list[tuple[Scene, ImageRow]]) -> None:
    attribute = [p for _, row in scenes for p in row.phrases if p.kind == "attribute"]
    assert sum(p.hard for p in attribute) > 0.5 * len(attribute)
    for scene, row in scenes:
        for phrase in row.phrases:
            pairs = {o.box: o.pair for o in scene.objects}
            (colour, shape), *_ = [pairs[box] for box in phrase.boxes]
            others = [pair for box, pair in pairs.items() if box not in phrase.boxes]
            distractors = any(p.colour == colour and p.shape != shape for p in others) and any(
                p.shape == shape and p.colour != colour for p in others
            )
            if phrase.kind == "attribute":
                assert phrase.hard == distractors
            elif phrase.kind == "category":
                assert not phrase.hard
            else:
                assert phrase.hard
                assert distractors
                assert Pair(colour, shape) in others, "the twin on the wrong side"


def test_twins_are_told_apart_clearly(scenes: list[tuple[Scene, ImageRow]]) -> None:
    axes = {"left": 0, "right": 0, "top": 1, "bottom": 1, "above": 1, "below": 1}
    for scene, row in scenes:
        pairs = {o.box: o for o in scene.objects}
        for phrase in row.phrases:
            if phrase.kind not in ("spatial", "region"):
                continue
            target = pairs[phrase.boxes[0]]
            twin = next(o for o in scene.objects if o.pair == target.pair and o is not target)
            words = phrase.text.split()
            reference = [o for o in scene.objects if o.pair == Pair(words[-2], words[-1])]
            assert phrase.kind == "spatial" or len(reference) == 1
            origin = reference[0].center if reference else (32.0, 32.0)
            gaps = [
                (target.center[axes[word]] - origin[axes[word]], twin.center[axes[word]] - origin[axes[word]])
                for word in words
                if word in axes
            ]
            assert all(abs(mine) >= 5 for mine, _ in gaps)
            assert any(mine * other < 0 and abs(other) >= 5 for mine, other in gaps)


def test_held_out_pairs_are_shown_in_unseen_only(scenes: list[tuple[Scene, ImageRow]]) -> None:
    assert sorted(p.colour for p in HELD_OUT_PAIRS) == sorted(COLOURS)
    assert sorted(p.shape for p in HELD_OUT_PAIRS) == sorted(SHAPES)
    for scene, row in scenes:
        if scene.split != "unseen":
            assert HELD_OUT_PAIRS.isdisjoint(o.pair for o in scene.objects)
            continue
        referred = {o.pair for o in scene.objects if any(o.box in p.boxes for p in row.phrases)}
        assert referred
        assert referred <= HELD_OUT_PAIRS


@pytest.mark.parametrize("image_size", [64, 96])
def test_boxes_are_the_tight_extents_of_what_is_drawn(image_size: int) -> None:
    for index in range(20):
        scene, _ = scene_and_row(1, "test", index, image_size)
        drawn = render(scene, random.Random(7)).astype(np.int64)
        bare = Scene(scene.split, scene.index, image_size, scene.layout, ())
        # The background is drawn first, so the same generator gives the same one without the objects.
        empty = render(bare, random.Random(7)).astype(np.int64)
        differs = (drawn != empty).any(axis=2)
        inside = np.zeros_like(differs)
        for o in scene.objects:
            x1, y1, x2, y2 = (int(edge) for edge in o.box)
            assert 1 <= x1 < x2 <= image_size - 1
            assert 1 <= y1 < y2 <= image_size - 1
            assert not inside[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1].any(), "a pixel of air between boxes"
            inside[y1:y2, x1:x2] = True
            coverage = stencil(o.pair.shape, o.diameter_px, o.texture).coverage
            assert coverage.shape == (y2 - y1, x2 - x1)
            assert min(coverage[0].max(), coverage[-1].max(), coverage[:, 0].max(), coverage[:, -1].max()) > 0
            low, high = {"small": (13, 15), "large": (19, 22)}[o.size]
            assert low * image_size / 64 - 2 <= max(coverage.shape) <= high * image_size / 64 + 1
        assert not (differs & ~inside).any()


def test_images_decode_to_what_was_drawn(scenes: list[tuple[Scene, ImageRow]]) -> None:
    for _, row in scenes[:5]:
        with Image.open(io.BytesIO(row.image)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))


def test_layouts_and_counts(scenes: list[tuple[Scene, ImageRow]]) -> None:
    seen = [(scene, row) for scene, row in scenes if scene.split != "unseen"]
    assert {scene.layout for scene, _ in seen} == {"grid", "corner", "twins"}
    assert all(4 <= len(scene.objects) <= 6 for scene, _ in seen)
    assert 5 <= np.mean([len(row.phrases) for _, row in seen]) <= 8
    for scene, _ in scenes:
        pairs = [o.pair for o in scene.objects]
        assert len(pairs) - len(set(pairs)) == (scene.layout == "twins")


def test_the_language_uses_its_whole_vocabulary_and_no_other_word(
    scenes: list[tuple[Scene, ImageRow]],
) -> None:
    texts = [p.text for _, row in scenes for p in row.phrases] + [
        t for _, row in scenes for t in row.also_true
    ]
    assert {word for text in texts for word in text.split()} == set(VOCABULARY)
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert set(FUNCTION_WORDS) == {"a", "on", "the", "at", "to", "of"}


def test_a_scene_depends_on_seed_split_and_index_alone() -> None:
    assert scene_and_row(3, "train", 5, 64) == scene_and_row(3, "train", 5, 64)
    images = {
        scene_and_row(*which, 64)[1].image
        for which in [(3, "train", 5), (4, "train", 5), (3, "val", 5), (3, "train", 6)]
    }
    assert len(images) == 4


def test_baselines_by_hand() -> None:
    def drawn(colour: str, shape: str, *box: float) -> SceneObject:
        return SceneObject(Pair(colour, shape), "small", "plain", 16.0, Box(*box))

    # On 32 pixels: four objects of 8 x 8, of which two are red and two are stars.
    objects = (
        drawn("red", "star", 0, 0, 8, 8),
        drawn("red", "ring", 16, 0, 24, 8),
        drawn("blue", "star", 0, 16, 8, 24),
        drawn("white", "heart", 16, 16, 24, 24),
    )
    scene = Scene("test", 0, 32, "corner", objects)
    tally, rest = Tally(), Tally()
    tally.add(scene, Phrase("a red star", (objects[0].box,), "attribute", "", "test", True))
    rest.add(scene, Phrase("a white heart", (objects[3].box,), "attribute", "", "test", False))
    rest.add(scene, Phrase("a star", (objects[0].box, objects[2].box), "category", "", "test", False))
    tally.merge(rest)
    assert contains_point_strict(objects[0].box, *objects[0].center)
    found = tally.percentages()["test"]
    hard = {
        "n": 1,
        "box_area": 6.25,
        "random_object": 25.0,
        "right_colour_only": 50.0,
        "right_shape_only": 50.0,
        "best_fixed_point": 100.0,
    }
    assert found["hard"] == hard
    assert found["hard/attribute"] == hard
    assert found["attribute"] == {
        "n": 2,
        "box_area": 6.25,
        "random_object": 25.0,
        "right_colour_only": 75.0,
        "right_shape_only": 75.0,
        "best_fixed_point": 50.0,
    }
    assert found["category"] == {
        "n": 1,
        "box_area": 12.5,
        "random_object": 50.0,
        "right_colour_only": None,
        "right_shape_only": 100.0,
        "best_fixed_point": 100.0,
    }
