"""COCO instances: the label of a category becomes a text about all its objects. The rules: data/README.md."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import Album, ImageTask, Material, Pictures
from amc_platform.data.places import Address, Place
from amc_platform.data.rows import Phrase
from amc_platform.data.sources.instances import Instances, box_of, read_instances

TEMPLATE = "an image of a {}"


def read_coco(
    raw: Address, splits: Sequence[str], template: str, pictures: Pictures, images: Address | None = None
) -> Material:
    """Objects of `splits`, each the part of a file name `instances_SPLIT.json` in `raw` or in `raw`/annotations.

    None given: all that are there. `template` holds {} where the label goes. Raises InputError where it does not,
    where there is no such file, and where a file is not in COCO's format.
    """
    if template.count("{}") != 1:
        raise InputError(f"--template: {template!r}; write {{}} once, where the label goes: {TEMPLATE!r}")
    raw = Place.of(raw)
    folder = raw.join("annotations") if raw.join("annotations").is_dir() else raw
    names = [name for name in folder.names() if name.startswith("instances_") and name.endswith(".json")]
    there = [name.removeprefix("instances_").removesuffix(".json") for name in names]
    unknown = [split for split in splits if split not in there]
    if unknown or not there:
        wanted = ", ".join(f"instances_{split}.json" for split in unknown) or "instances_*.json"
        raise InputError(f"{folder}: no {wanted}; it holds {', '.join(names) or 'no such file'}")
    splits = list(dict.fromkeys(splits)) or there
    material = Material({"source": "coco", "split": list(splits), "template": template})
    for split in splits:
        instances = read_instances(folder.join(f"instances_{split}.json"), material)
        folders = (
            [Place.of(images)] if images else [raw.join(split), raw.join("images", split), raw.join("images")]
        )
        _read_split(split, instances, template, pictures.album(folders), material)
    return material


def label_text(template: str, label: str) -> str:
    """The text of a label; "a" before it becomes "an" before a vowel."""
    if label[:1].lower() in "aeiou":
        template = re.sub(r"\b([Aa]) \{\}", r"\1n {}", template)
    return template.replace("{}", label)


def _read_split(split: str, instances: Instances, template: str, album: Album, material: Material) -> None:
    of_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in instances.annotations.values():
        of_image.setdefault(annotation.get("image_id", -1), []).append(annotation)
    for image_id, image in instances.images.items():
        material.seen["image"] += 1
        counts = Counter(images=1, boxes=0, texts=0)
        boxes: dict[str, list[Box]] = {}
        crowds: set[str] = set()
        for annotation in of_image.get(image_id, []):
            label = instances.categories.get(annotation.get("category_id", -1), "")
            if not label:
                material.seen["text"] += 1
                what = f"annotation {annotation.get('id')}"
                material.reject("text", str(image_id), what, "a category_id without a name in categories")
            elif annotation.get("iscrowd"):
                counts["crowds_left_out"] += 1
                crowds.add(label_text(template, label))
            else:
                usable = material.usable_boxes(str(image_id), [box_of(annotation)], image.width, image.height)
                counts["boxes"] += len(usable)
                boxes.setdefault(label_text(template, label), []).extend(usable)
        phrases = tuple(
            Phrase(text, tuple(dict.fromkeys(at)), "category", "", split, False)
            for text, at in boxes.items()
            if at
        )
        counts["texts"] = len(phrases)
        material.seen["text"] += len(boxes)
        kept, path = album.find(str(image_id), image.file_name, material)
        if kept:
            true = frozenset(crowds - boxes.keys())
            task = ImageTask(
                str(image_id),
                path,
                image.width,
                image.height,
                phrases,
                true,
                (f"coco:{image_id}",),
                counts,
            )
            material.tasks.append(task)
