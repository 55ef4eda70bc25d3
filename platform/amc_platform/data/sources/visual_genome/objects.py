"""From the raw entries of one image to its objects and regions; what is wrong is rejected one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amc_platform.data.boxes import Box
from amc_platform.data.material import Material
from amc_platform.data.rows import Phrase
from amc_platform.data.sources.visual_genome.texts import SPLIT, SceneObject
from amc_platform.data.sources.visual_genome.words import clean


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads what is said of one image; what cannot be used goes into `material.rejected`."""

    image_id: str
    width: int
    height: int
    material: Material

    def objects(self, objects: Any, attributes: Any) -> Iterator[SceneObject]:
        """Objects of `objects.json` with the attributes that `attributes.json` gives them by `object_id`.

        An object that only `attributes.json` has is taken from there; one that was merged into another
        hands its attributes over to it.
        """
        owners = {
            merged: item.get("object_id")
            for item in _dicts(objects)
            for merged in _list(item.get("merged_object_ids"))
        }
        found: dict[Any, tuple[dict[str, Any], list[Any]]] = {}
        for item in [*_dicts(objects), *_dicts(attributes)]:
            own = item.get("object_id", id(item))
            found.setdefault(owners.get(own, own), (item, []))[1].extend(_list(item.get("attributes")))
        for item, said in found.values():
            box = self._box(item, "w", "h")
            name = next(iter(_cleaned(item.get("names"))), "")
            self.material.seen["text"] += 1
            if not name:
                self.material.reject(
                    "text", self.image_id, str(item.get("names")), "an object without a name"
                )
            elif box is not None:
                yield SceneObject(name, _cleaned(said), box)

    def regions(self, regions: Any) -> list[Phrase]:
        """Region descriptions as they are written; one that is said of several boxes is one phrase."""
        boxes: dict[str, dict[Box, None]] = {}
        for item in _dicts(regions):
            text = " ".join(str(item.get("phrase") or "").split())
            box = self._box(item, "width", "height")
            self.material.seen["text"] += 1
            if not clean(text):
                self.material.reject("text", self.image_id, text, "a region description without words")
            elif box is not None:
                boxes.setdefault(text, {})[box] = None
        return [Phrase(text, tuple(at), "region", "", SPLIT, False) for text, at in boxes.items()]

    def _box(self, item: dict[str, Any], width: str, height: str) -> Box | None:
        try:
            x, y, w, h = (float(item[key]) for key in ("x", "y", width, height))
        except (KeyError, TypeError, ValueError):
            self.material.seen["box"] += 1
            self.material.reject("box", self.image_id, str(item), f"no numbers x, y, {width} and {height}")
            return None
        usable = self.material.usable_boxes(self.image_id, [Box(x, y, x + w, y + h)], self.width, self.height)
        return usable[0] if usable else None


def _cleaned(names: Any) -> tuple[str, ...]:
    cleaned = (clean(name) for name in _list(names) if isinstance(name, str))
    return tuple(dict.fromkeys(filter(None, cleaned)))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
