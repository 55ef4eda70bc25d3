"""What a source makes of its annotations, before any image is opened."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from amc_models.errors import InputError
from amc_platform.data.boxes import Box, part_inside
from amc_platform.data.places import Place
from amc_platform.data.rows import Phrase

What = Literal["image", "text", "box"]
"""What can be rejected."""


@dataclass(frozen=True, slots=True)
class ImageTask:
    """An image to be read, and the row of the table that it becomes.

    path: address of the encoded image, None in a table of annotations only. width, height: as annotated; an
    image of another size is rejected when it is read. counts: what this image adds to the source's counts;
    "categories/people" is shown as `people` under `categories`.
    """

    image_id: str
    path: str | None
    width: int
    height: int
    phrases: tuple[Phrase, ...]
    also_true: frozenset[str] = frozenset()
    origins: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])


class Rejected(NamedTuple):
    """Something that cannot be used, and why; `item` is the text, the box or the name of the image."""

    what: What
    image_id: str
    item: str
    reason: str


@dataclass
class Material:
    """All that a source says.

    source: its name under "source", and every option that changes rows. tasks: in the order of the table.
    seen: how many images, texts and boxes were looked at, those rejected among them.
    counts: what belongs to no image of the table.
    """

    source: dict[str, Any]
    tasks: list[ImageTask] = field(default_factory=list[ImageTask])
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    seen: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])

    def reject(self, what: What, image_id: str, item: str, reason: str) -> None:
        """Note that something cannot be used."""
        self.rejected.append(Rejected(what, image_id, item, reason))

    def usable_boxes(self, image_id: str, boxes: Iterable[Box], width: int, height: int) -> tuple[Box, ...]:
        """The parts of `boxes` inside the image, equal ones once; a box without such a part is rejected."""
        usable: dict[Box, None] = {}
        for box in boxes:
            self.seen["box"] += 1
            inside = part_inside(box, width, height)
            if inside is None:
                edges = ", ".join(f"{edge:g}" for edge in box)
                self.reject("box", image_id, f"[{edges}]", f"empty, or outside the {width} x {height} pixels")
            else:
                usable[inside] = None
        return tuple(usable)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Which images a table holds.

    wanted: False makes a table of annotations only. only_present: images that are not there are left out
    and counted, instead of rejected.
    """

    wanted: bool = True
    only_present: bool = False

    def album(self, folders: Sequence[Place]) -> "Album":
        """The images in `folders`, each listed once. Raises InputError where images are wanted and none is there."""
        if not self.wanted:
            return Album(self, (), {})
        listed = [(folder, names) for folder in folders if (names := folder.names())]
        if not listed:
            raise InputError(
                f"{' and '.join(map(str, folders))}: no images there; name their folder with --images, or make "
                "a table of annotations only with --no-images"
            )
        there = {name: folder for folder, names in reversed(listed) for name in names}
        return Album(self, tuple(folder for folder, _ in listed), there)


@dataclass(frozen=True, slots=True)
class Album:
    """Where images are: the folder of each file name."""

    pictures: Pictures
    folders: tuple[Place, ...]
    there: Mapping[str, Place]

    def find(self, image_id: str, name: str, material: Material) -> tuple[bool, str | None]:
        """Whether the image belongs into the table, and the address of its file `name`."""
        if not self.pictures.wanted:
            return True, None
        if name in self.there:
            return True, self.there[name].join(name).address
        if self.pictures.only_present:
            material.counts["images_left_out"] += 1
        else:
            folders = " or ".join(map(str, self.folders))
            material.reject("image", image_id, name, f"no such file in {folders}")
        return False, None
