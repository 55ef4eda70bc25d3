"""What a row of a grounding table says, in Python."""

from dataclasses import dataclass

from amc_platform.data.boxes import Box


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text that refers to `boxes` (all of them) of its image.

    kind: attribute, region, spatial, category, ...; category: Flickr30k's type of entity, else "".
    hard: the image holds distractors that only the whole text rules out.
    """

    text: str
    boxes: tuple[Box, ...]
    kind: str
    category: str
    split: str
    hard: bool


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An encoded image (PNG or JPEG), what is said of it, and further texts known to be true of it.

    `also_true` keeps a phrase of another image from being used as a negative of this one.
    """

    image_id: str
    image: bytes
    width: int
    height: int
    phrases: tuple[Phrase, ...]
    also_true: frozenset[str]
