"""What can be wrong with a grounding table: one function a fault, which tells each case of it in a few words."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from amc_platform.data.boxes import Box, area, part_inside
from amc_platform.data.phash import LOOK_BYTES, groups
from amc_platform.data.rows import ImageRow


class Picture(NamedTuple):
    """What the encoded image of a row turned out to be; `problem` says why it cannot be decoded."""

    problem: str
    width: int = 0
    height: int = 0
    look: bytes = b""


TableSplit = tuple[str, str]
"""A table ("" for the one that is examined) and a split of it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a row.

    names: its id in the table's source, and its ids in other collections. look: b"" without a readable image.
    """

    image_id: str
    names: tuple[str, ...]
    places: tuple[TableSplit, ...]
    look: bytes


class RowCheck(NamedTuple):
    """A fault of one row (a note where `fault` is False: worth knowing, and common in published data)."""

    name: str
    find: Callable[[ImageRow, Picture | None], Iterator[str]]
    remedy: str
    fault: bool = True


class TableCheck(NamedTuple):
    """A fault of rows taken together."""

    name: str
    find: Callable[[Sequence[Seen]], Iterator[str]]
    remedy: str
    fault: bool = True


def boxes_outside(row: ImageRow, _: Picture | None) -> Iterator[str]:
    """Boxes that are not wholly inside their image."""
    for text, box in _boxes(row):
        if area(box) > 0 and part_inside(box, row.width, row.height) != box:
            yield f"{text} {_edges(box)} of {row.width} x {row.height}"


def boxes_empty(row: ImageRow, _: Picture | None) -> Iterator[str]:
    """Boxes without area, inverted ones and those that are no numbers among them."""
    for text, box in _boxes(row):
        if not area(box) > 0:
            yield f"{text} {_edges(box)}"


def phrases_without_boxes(row: ImageRow, _: Picture | None) -> Iterator[str]:
    """Phrases that point nowhere."""
    return (f"'{phrase.text}' of image {row.image_id}" for phrase in row.phrases if not phrase.boxes)


def phrases_without_text(row: ImageRow, _: Picture | None) -> Iterator[str]:
    """Phrases that say nothing."""
    return (f"image {row.image_id}" for phrase in row.phrases if not phrase.text.strip())


def phrases_repeated(row: ImageRow, _: Picture | None) -> Iterator[str]:
    """Phrases of one image that have text, boxes and split in common; as common as people who say the same."""
    times = Counter((phrase.text, phrase.boxes, phrase.split) for phrase in row.phrases)
    return (f"'{text}' of image {row.image_id}, {n} times" for (text, *_), n in times.items() if n > 1)


def texts_ambiguous(row: ImageRow, _: Picture | None) -> Iterator[str]:
    """Texts that are said of different boxes of one image and split."""
    said: dict[tuple[str, str], set[tuple[Box, ...]]] = {}
    for phrase in row.phrases:
        said.setdefault((phrase.text, phrase.split), set()).add(phrase.boxes)
    return (f"'{text}' of image {row.image_id}" for (text, _), boxes in said.items() if len(boxes) > 1)


def images_missing(row: ImageRow, picture: Picture | None) -> Iterator[str]:
    """Rows without an encoded image in a table that is meant to have them."""
    if picture is not None and not row.image:
        yield f"image {row.image_id}"


def images_unreadable(row: ImageRow, picture: Picture | None) -> Iterator[str]:
    """Images that cannot be decoded to their end."""
    if picture is not None and row.image and picture.problem:
        yield f"image {row.image_id}: {picture.problem}"


def images_of_another_size(row: ImageRow, picture: Picture | None) -> Iterator[str]:
    """Images that are neither as large as their boxes assume, nor that made smaller, nor squashed to a square."""
    if picture is None or not row.image or picture.problem:
        return
    stored, annotated = (picture.width, picture.height), (row.width, row.height)
    # A side that was rounded to a whole pixel is off by half of one.
    same_shape = abs(stored[0] * annotated[1] - stored[1] * annotated[0]) <= max(annotated) / 2
    smaller = max(stored) < max(annotated) and (same_shape or stored[0] == stored[1])
    if stored != annotated and not smaller:
        sizes = [f"{width} x {height}" for width, height in (stored, annotated)]
        yield f"image {row.image_id} is {sizes[0]}, its boxes are of {sizes[1]}"


def ids_repeated(seen: Sequence[Seen]) -> Iterator[str]:
    """Image ids of more than one row."""
    rows = Counter(image.image_id for image in seen if not image.places[0][0])
    return (f"image {image_id} in {n} rows" for image_id, n in rows.items() if n > 1)


def splits_share_images(seen: Sequence[Seen]) -> Iterator[str]:
    """Images that two splits of the table have in common, by id or by an id in another collection."""
    return (pair.told() for pair in _pairs(_by_name(seen)) if pair.same_table)


def splits_look_alike(seen: Sequence[Seen]) -> Iterator[str]:
    """Images of two splits of the table that have no id in common and show the same picture."""
    return (pair.told() for pair in _pairs(_by_look(seen)) if pair.same_table and pair.unnamed)


def images_look_alike(seen: Sequence[Seen]) -> Iterator[str]:
    """Images of one split with different ids that show the same picture."""
    for images in _by_look(seen):
        for place in dict.fromkeys(place for image in images for place in image.places if not place[0]):
            ids = [image.image_id for image in images if place in image.places]
            if len(ids) > 1:
                yield f"{place[1]}: images {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}"


def tables_share_images(seen: Sequence[Seen]) -> Iterator[str]:
    """Images that one table trains on and the other tests on, by id or by an id in another collection."""
    return (pair.told() for pair in _pairs(_by_name(seen)) if pair.trained_and_tested)


def tables_look_alike(seen: Sequence[Seen]) -> Iterator[str]:
    """Images with no id in common that show the same picture; one table trains on it, the other tests on it."""
    return (pair.told() for pair in _pairs(_by_look(seen)) if pair.trained_and_tested and pair.unnamed)


class _Pair(NamedTuple):
    """A picture at two places, with an image that stands for it at each."""

    place: TableSplit
    image: Seen
    other_place: TableSplit
    other: Seen

    @property
    def same_table(self) -> bool:
        return self.place[0] == self.other_place[0] == ""

    @property
    def trained_and_tested(self) -> bool:
        training = [split.startswith("train") for _, split in (self.place, self.other_place)]
        return self.place[0] != self.other_place[0] and training[0] != training[1]

    @property
    def unnamed(self) -> bool:
        return not set(self.image.names) & set(self.other.names)

    def told(self) -> str:
        places = [f"{table}:{split}" if table else split for table, split in (self.place, self.other_place)]
        first, second = self.image.image_id, self.other.image_id
        return f"{' and '.join(places)}: image {first if first == second else f'{first} and {second}'}"


def _pairs(same: Iterable[Sequence[Seen]]) -> Iterator[_Pair]:
    """Each picture of `same` at every two of the places where it is, each two images once."""
    told: set[tuple[TableSplit, str, TableSplit, str]] = set()
    for images in same:
        first: dict[TableSplit, Seen] = {}
        for image in images:
            for place in image.places:
                first.setdefault(place, image)
        for (place, image), (other_place, other) in itertools.combinations(first.items(), 2):
            key = (place, image.image_id, other_place, other.image_id)
            if key not in told:
                told.add(key)
                yield _Pair(place, image, other_place, other)


def _by_name(seen: Sequence[Seen]) -> Iterable[list[Seen]]:
    named: dict[str, list[Seen]] = {}
    for image in seen:
        for name in image.names:
            named.setdefault(name, []).append(image)
    return named.values()


def _by_look(seen: Sequence[Seen]) -> Iterable[list[Seen]]:
    readable = [image for image in seen if image.look]
    looks = np.frombuffer(b"".join(image.look for image in readable), np.uint8)
    labels = groups(looks.reshape(-1, LOOK_BYTES))
    alike: dict[int, list[Seen]] = {}
    for label, image in zip(labels.tolist(), readable, strict=True):
        alike.setdefault(label, []).append(image)
    return alike.values()


def _boxes(row: ImageRow) -> Iterator[tuple[str, Box]]:
    return (
        (f"'{phrase.text}' of image {row.image_id}", box) for phrase in row.phrases for box in phrase.boxes
    )


def _edges(box: Box) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in box)}]"


ROW_CHECKS = (
    RowCheck("boxes outside the image", boxes_outside, "prepare the table again: it keeps the part inside"),
    RowCheck("empty boxes", boxes_empty, "prepare the table again: it leaves them out and lists them"),
    RowCheck(
        "phrases without boxes", phrases_without_boxes, "leave them out: they can be neither hit nor missed"
    ),
    RowCheck("phrases without text", phrases_without_text, "leave them out of the source's annotations"),
    RowCheck("missing images", images_missing, "prepare the table again with the folder that holds them"),
    RowCheck(
        "unreadable images", images_unreadable, "download these files again, then prepare the table again"
    ),
    RowCheck(
        "images of another size", images_of_another_size, "take images and annotations from the same release"
    ),
    RowCheck(
        "repeated phrases", phrases_repeated, "each counts in an accuracy, as it does where published", False
    ),
    RowCheck(
        "texts with several meanings", texts_ambiguous, "a hit is judged by each phrase's own boxes", False
    ),
)
TABLE_CHECKS = (
    TableCheck("repeated image ids", ids_repeated, "keep one row an image; results would count it twice"),
    TableCheck(
        "splits sharing images",
        splits_share_images,
        "move each image into one split, or do not train on this table",
    ),
    TableCheck(
        "splits with images that look alike",
        splits_look_alike,
        "look at both images; drop the one to train on",
    ),
    TableCheck(
        "images that look alike in a split",
        images_look_alike,
        "look at them; what is the same counts twice",
        False,
    ),
)
AGAINST_CHECKS = (
    TableCheck(
        "images trained on in one table and tested on in the other",
        tables_share_images,
        "test on a table without them: `amc doctor TABLE --clean SOURCE --against OTHER --out CLEAN`",
    ),
    TableCheck(
        "images of both tables that look alike",
        tables_look_alike,
        "look at both images; leave the tested one out, or the trained one",
    ),
)
