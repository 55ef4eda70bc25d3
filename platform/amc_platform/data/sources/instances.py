"""Annotations in COCO's format: `images`, `annotations` and `categories` of one JSON file."""

import json
from dataclasses import dataclass
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import Material
from amc_platform.data.places import Place


@dataclass(frozen=True, slots=True)
class InstanceImage:
    """An entry of `images`."""

    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Instances:
    """One file, images and annotations by id; an annotation is the dict that stands there, without its polygons."""

    images: dict[int, InstanceImage]
    annotations: dict[Any, dict[str, Any]]
    categories: dict[int, str]


def read_instances(place: Place, material: Material) -> Instances:
    """The file at `place`; an image without name or size is rejected.

    Raises InputError where the file is missing, is no JSON, or has no images and annotations.
    """
    try:
        content = json.loads(place.read_bytes(), object_hook=_without_polygons)
        images, annotations = content["images"], content["annotations"]
        categories = {entry["id"]: entry["name"] for entry in content.get("categories", [])}
        by_id = {entry["id"]: entry for entry in annotations}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{place}: not annotations in COCO's format ({reason}); download it again"
        ) from error
    found: dict[int, InstanceImage] = {}
    for entry in images:
        try:
            image = InstanceImage(str(entry["file_name"]), int(entry["width"]), int(entry["height"]))
            found[entry["id"]] = image
        except (KeyError, TypeError, ValueError):
            material.seen["image"] += 1
            material.reject("image", str(entry)[:200], "", f"no id, file_name, width and height in {place}")
    return Instances(found, by_id, categories)


def box_of(annotation: dict[str, Any]) -> Box:
    """`bbox` (x, y, width, height) as xyxy; a box without area where it is not four numbers."""
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (KeyError, TypeError, ValueError):
        return Box(0, 0, 0, 0)
    return Box(x, y, x + width, y + height)


def _without_polygons(entry: dict[str, Any]) -> dict[str, Any]:
    # Most of the file, and of no use here.
    entry.pop("segmentation", None)
    return entry
