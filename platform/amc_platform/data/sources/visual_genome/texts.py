"""The texts of one image's objects: attribute and spatial ones (the paper's section 4.1 and Figure 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from amc_platform.data.boxes import Box, area
from amc_platform.data.rows import Phrase
from amc_platform.data.sources.visual_genome import spatial
from amc_platform.data.sources.visual_genome.words import names_a_side, noun_phrase

SPLIT = "train"
"""Visual Genome has no splits; the paper trains on all of it."""


@dataclass(frozen=True, slots=True)
class SceneObject:
    """An object with its cleaned name and attributes; the box lies inside the image."""

    name: str
    attributes: tuple[str, ...]
    box: Box


def box_phrases(
    objects: Sequence[SceneObject], width: int, height: int, min_area: float
) -> tuple[list[Phrase], frozenset[str]]:
    """Attribute, object and spatial phrases of the boxes that cover `min_area` of the image or more.

    The second value are the further texts known to be true: those of smaller boxes, and the bare names of
    objects with attributes, so that no image is taken for a negative of what it shows.
    """
    enough = min_area * width * height
    kinds: dict[str, str] = {}
    boxes: dict[str, dict[Box, None]] = {}
    true: set[str] = set()
    for thing in objects:
        true.add(noun_phrase(thing.name))
        for kind, text in object_texts(thing):
            true.add(text)
            if area(thing.box) >= enough:
                kinds.setdefault(text, kind)
                boxes.setdefault(text, {})[thing.box] = None
    for text, box in spatial_texts(objects, width, height):
        if area(box) >= enough and text not in boxes:
            kinds[text], boxes[text] = "spatial", {box: None}
    phrases = [Phrase(text, tuple(at), kinds[text], "", SPLIT, False) for text, at in boxes.items()]
    return phrases, frozenset(true - boxes.keys())


def object_texts(thing: SceneObject) -> list[tuple[str, str]]:
    """(kind, text): one `attribute` text for each attribute; without any, the name as an `object` text."""
    bare = noun_phrase(thing.name)
    texts = dict.fromkeys(noun_phrase(thing.name, attribute) for attribute in thing.attributes)
    return [("attribute", text) for text in texts if text != bare] or [("object", bare)]


def spatial_texts(objects: Sequence[SceneObject], width: int, height: int) -> list[tuple[str, Box]]:
    """Texts for the outermost of several objects of one name, each true of one box only.

    Small objects get no phrase, but they count: a man is not "on the left" where a smaller one stands
    further left.
    """
    named: dict[str, list[SceneObject]] = {}
    for thing in objects:
        if not names_a_side(thing.name):
            named.setdefault(thing.name, []).append(thing)
    texts: dict[str, set[Box]] = {}
    for name, things in named.items():
        several = [things[i] for i in spatial.distinct([thing.box for thing in things])]
        for index, sides in spatial.sides([thing.box for thing in several], width, height).items():
            thing = several[index]
            attribute = next((a for a in thing.attributes if not names_a_side(a)), "")
            for side in sides:
                for text in (_section_4_1(name, side), f"{noun_phrase(name, attribute)} to the {side}"):
                    texts.setdefault(text, set()).add(thing.box)
    # A "white bowl" and a "bowl" that is white can claim one text for two boxes.
    return [(text, boxes.pop()) for text, boxes in texts.items() if len(boxes) == 1]


def _section_4_1(name: str, side: str) -> str:
    return f"{name} on the {side}" if side in ("left", "right") else f"{side} {name}"
