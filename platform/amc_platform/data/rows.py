"""What a row of a grounding table says, in Python."""

from dataclasses import dataclass

from amc_platform.data.boxes import Box


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text that refers to `boxes` (all of them) of its image.

    kind: attribute, region, spatial, category, ...; category: Flickr30k's type of entity, two of them
    parted by "/" ("people/clothing"), else "".
    hard: the image holds distractors that only the whole text rules out.
    """

    text: str
    boxes: tuple[Box, ...]
    kind: str
    category: str
    split: str
    hard: bool

    @property
    def categories(self) -> tuple[str, ...]:
        """Each of the phrase's types; it counts in all of them."""
        return tuple(self.category.split("/")) if self.category else ()


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An encoded image (PNG or JPEG), what is said of it, and further texts known to be true of it.

    width, height and all boxes are those of the original image; the stored one may be smaller, and is b""
    in a table of annotations only. `also_true` keeps a phrase of another image from being used as a negative
    of this one. origins: the photo's ids in the collections it came from, such as "coco:716"; two rows that
    share one show the same photo.
    """

    image_id: str
    image: bytes
    width: int
    height: int
    phrases: tuple[Phrase, ...]
    also_true: frozenset[str]
    origins: tuple[str, ...] = ()
