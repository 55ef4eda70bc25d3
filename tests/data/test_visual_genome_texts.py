"""What is said of Visual Genome's objects: noun phrases, and texts that name one box by its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc_platform.data.boxes import Box, area, center
from amc_platform.data.sources.visual_genome.texts import SceneObject, box_phrases, spatial_texts
from amc_platform.data.sources.visual_genome.words import clean, noun_phrase
from amc_platform.data.transforms import swap_sides


@pytest.mark.parametrize(
    ("name", "attribute", "text"),
    [
        ("dog", "brown", "a brown dog"),
        ("orange", "", "an orange"),
        ("dog", "old", "an old dog"),
        ("uniform", "", "a uniform"),
        ("unidentified object", "", "an unidentified object"),
        ("hour glass", "", "an hour glass"),
        ("way sign", "one-way", "a one-way way sign"),
        ("men", "two", "two men"),
        ("trees", "green", "green trees"),
        ("grass", "green", "green grass"),
        ("glass", "clear", "a clear glass"),
        ("glasses", "", "glasses"),
        ("bus", "", "a bus"),
        ("skis", "", "skis"),
        ("piece of cake", "", "a piece of cake"),
        ("slices of bread", "", "slices of bread"),
        ("man", "wearing hat", "a man wearing hat"),
        ("man", "standing", "a standing man"),
        ("cat", "black and white", "a black and white cat"),
        ("car", "parked on street", "a car parked on street"),
        ("wall", "is white", "a white wall"),
        ("brown dog", "brown", "a brown dog"),
        ("dog", "the", "a dog"),
    ],
)
def test_articles_and_word_order(name: str, attribute: str, text: str) -> None:
    assert noun_phrase(clean(name), clean(attribute)) == text


@pytest.mark.parametrize(
    ("raw_name", "name"),
    [
        ("  A Traffic-Light!", "traffic-light"),
        ("man's_shirt", "man's shirt"),
        ("the", ""),
        ("-", ""),
        ("№ 3", "3"),
    ],
)
def test_names_are_cleaned(raw_name: str, name: str) -> None:
    assert clean(raw_name) == name


def things(*named: tuple[str, tuple[int, int, int, int]]) -> list[SceneObject]:
    return [SceneObject(name, (), Box(*map(float, box))) for name, box in named]


def test_the_bowl_of_figure_3() -> None:
    bowls = things(("bowl", (0, 0, 40, 40)), ("bowl", (50, 0, 90, 40)), ("man", (0, 0, 50, 100)))
    bowls.append(SceneObject("bowl", ("white", "left"), Box(60, 60, 100, 100)))
    assert dict(spatial_texts(bowls, 100, 100)) == {
        "bowl on the left": (0, 0, 40, 40),
        "a bowl to the left": (0, 0, 40, 40),
        "bowl on the right": (60, 60, 100, 100),
        "a white bowl to the right": (60, 60, 100, 100),
        "bottom bowl": (60, 60, 100, 100),
        "a white bowl to the bottom": (60, 60, 100, 100),
        "bottom right bowl": (60, 60, 100, 100),
        "a white bowl to the bottom right": (60, 60, 100, 100),
    }


def test_an_object_annotated_twice_is_one_object() -> None:
    twice = things(("dog", (0, 0, 50, 50)), ("dog", (2, 0, 52, 50)))
    assert spatial_texts(twice, 100, 100) == []
    [left, *_] = spatial_texts([*twice, *things(("dog", (60, 0, 90, 50)))], 100, 100)
    assert left == ("dog on the left", Box(0, 0, 50, 50))


def test_a_text_that_two_names_claim_is_not_said() -> None:
    bowls = [
        SceneObject("bowl", ("white",), Box(0, 0, 20, 20)),
        *things(("bowl", (60, 0, 90, 20)), ("white bowl", (0, 50, 10, 60)), ("white bowl", (60, 50, 90, 70))),
    ]
    assert "a white bowl to the left" not in dict(spatial_texts(bowls, 100, 100))
    assert dict(spatial_texts(bowls, 100, 100))["bowl on the left"] == (0, 0, 20, 20)


def test_a_name_that_holds_a_side_gets_no_other() -> None:
    assert (
        spatial_texts(things(("left hand", (0, 0, 20, 20)), ("left hand", (60, 0, 80, 20))), 100, 100) == []
    )


WIDTH, HEIGHT = 200, 120
scenes = st.lists(
    st.tuples(
        st.sampled_from(["dog", "white dog", "bowl"]),
        st.sampled_from([(), ("white",), ("left", "big")]),
        st.integers(0, WIDTH - 2),
        st.integers(0, HEIGHT - 2),
        st.integers(1, WIDTH),
        st.integers(1, HEIGHT),
    ),
    max_size=7,
)


def scene(values: list[Any]) -> list[SceneObject]:
    return [
        SceneObject(name, said, Box(float(x), float(y), float(min(WIDTH, x + w)), float(min(HEIGHT, y + h))))
        for name, said, x, y, w, h in values
    ]


@given(scenes)
def test_a_spatial_text_names_one_box(values: list[Any]) -> None:
    phrases, _ = box_phrases(scene(values), WIDTH, HEIGHT, 0.08)
    texts = [phrase.text for phrase in phrases]
    assert len(texts) == len(set(texts))
    assert all(area(box) >= 0.08 * WIDTH * HEIGHT for phrase in phrases for box in phrase.boxes)
    assert all(len(phrase.boxes) == 1 for phrase in phrases if phrase.kind == "spatial")


@given(scenes)
def test_the_outermost_really_is(values: list[Any]) -> None:
    objects = scene(values)
    for text, box in spatial_texts(objects, WIDTH, HEIGHT):
        x, y = center(box)
        for name in ("dog", "white dog", "bowl"):
            # What overlaps the box by half is the same object annotated twice, and may lie further out.
            apart = [
                center(thing.box) for thing in objects if thing.name == name and iou(thing.box, box) < 0.5
            ]
            if text == f"{name} on the left":
                assert all(x + 0.1 * WIDTH <= other for other, _ in apart)
            if text == f"bottom {name}":
                assert all(y - 0.1 * HEIGHT >= other for _, other in apart)


def iou(first: Box, second: Box) -> float:
    both = area(Box(*map(max, first[:2], second[:2]), *map(min, first[2:], second[2:])))
    return both / (area(first) + area(second) - both)


@given(scenes)
def test_the_mirrored_image_exchanges_left_and_right(values: list[Any]) -> None:
    objects = scene(values)

    def mirrored(box: Box) -> Box:
        return Box(WIDTH - box.x2, box.y1, WIDTH - box.x1, box.y2)

    flipped = [SceneObject(thing.name, thing.attributes, mirrored(thing.box)) for thing in objects]
    expected = {(swap_sides(text), mirrored(box)) for text, box in spatial_texts(objects, WIDTH, HEIGHT)}
    assert set(spatial_texts(flipped, WIDTH, HEIGHT)) == expected
