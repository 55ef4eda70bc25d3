"""Flickr30k Entities: phrases of captions, with the boxes of the entity that each names. The rules: data/README.md."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import Album, ImageTask, Material, Pictures
from amc_platform.data.places import Address, Place, read_each
from amc_platform.data.rows import Phrase

SPLITS = ("train", "val", "test")
IMAGE_FOLDERS = ("flickr30k-images", "flickr30k_images", "images")
CATEGORIES = ("people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other")
NOT_VISUAL = "0"
"""The chain of phrases that name nothing one can see."""

_MARKED = re.compile(r"\[/EN#(\d+)/(\S+) ([^\[\]]*)\]")
_OPENING = "[/EN#"


@dataclass(frozen=True, slots=True)
class Entities:
    """The XML file of an image: its size, the boxes of each chain of phrases, and which chains are its scene."""

    width: int
    height: int
    objects: list[tuple[tuple[str, ...], Box]]
    scenes: frozenset[str]


def read_flickr30k_entities(
    raw: Address,
    splits: Sequence[str],
    pictures: Pictures,
    images: Address | None = None,
    annotations: Address | None = None,
) -> Material:
    """Annotations of `splits` (none given: all whose list is in `raw`), laid out as the official archive.

    `annotations`, the folder of Annotations/ and Sentences/, is `raw` by default. Raises InputError where a split's
    list or these folders are missing.
    """
    raw = Place.of(raw)
    splits = list(dict.fromkeys(splits)) or [split for split in SPLITS if raw.join(f"{split}.txt").exists()]
    if not splits:
        raise InputError(
            f"{raw}: none of {', '.join(f'{split}.txt' for split in SPLITS)}; --raw is their folder"
        )
    unpacked = Place.of(annotations) if annotations else raw
    _check_layout(unpacked, "--annotations" if annotations else "--raw")
    material = Material({"source": "flickr30k_entities", "split": list(splits)})
    album = pictures.album([Place.of(images)] if images else [raw.join(name) for name in IMAGE_FOLDERS])
    seen: set[str] = set()
    for split in splits:
        ids = raw.join(f"{split}.txt").read_text().split()
        for image_id, sentences, annotation in _files(unpacked, ids):
            material.seen["image"] += 1
            if image_id in seen:
                material.reject("image", image_id, f"{split}.txt", "listed twice")
            elif isinstance(sentences, InputError) or isinstance(annotation, InputError):
                error = sentences if isinstance(sentences, InputError) else annotation
                material.reject("image", image_id, f"{split}.txt", str(error))
            else:
                _read_image(image_id, split, sentences, annotation, album, material)
            seen.add(image_id)
    return material


def _files(raw: Place, ids: list[str]) -> Iterator[tuple[str, bytes | InputError, bytes | InputError]]:
    sentences = read_each(raw.join("Sentences", f"{image_id}.txt") for image_id in ids)
    annotations = read_each(raw.join("Annotations", f"{image_id}.xml") for image_id in ids)
    return zip(ids, sentences, annotations, strict=True)


def _read_image(
    image_id: str, split: str, sentences: bytes, annotation: bytes, album: Album, material: Material
) -> None:
    try:
        lines = [line for line in sentences.decode("utf-8").splitlines() if line.strip()]
        entities = parse_entities(image_id, annotation, material)
    except (ET.ParseError, ValueError) as error:
        material.reject("image", image_id, f"{image_id}.xml", f"cannot be read: {error}")
        return
    boxes: dict[str, list[Box]] = {}
    usable = 0
    for chains, box in entities.objects:
        for inside in material.usable_boxes(image_id, [box], entities.width, entities.height):
            usable += 1
            for chain in chains:
                boxes.setdefault(chain, []).append(inside)
    counts = Counter(images=1, sentences=len(lines), sentences_with_boxes=0, phrases=0, phrases_with_boxes=0)
    counts.update({"boxes": usable, **dict.fromkeys((f"categories/{name}" for name in CATEGORIES), 0)})
    phrases: list[Phrase] = []
    unboxed: set[str] = set()
    for line in lines:
        boxed = 0
        for chain, category, text in marked_phrases(image_id, line, material):
            counts["phrases"] += 1
            if chain in boxes:
                boxed += 1
                at = tuple(dict.fromkeys(boxes[chain]))
                phrases.append(Phrase(text, at, "entity", category, split, False))
                counts.update({f"categories/{name}": 1 for name in phrases[-1].categories})
            else:
                scene = "scene" if chain in entities.scenes else "no_box"
                counts[f"unboxed/{'not_visual' if chain == NOT_VISUAL else scene}"] += 1
                if chain != NOT_VISUAL:
                    unboxed.add(text)
        counts["sentences_with_boxes"] += boxed > 0
    counts["phrases_with_boxes"] = len(phrases)
    kept, path = album.find(image_id, f"{image_id}.jpg", material)
    if kept:
        true = frozenset(unboxed - {phrase.text for phrase in phrases})
        origin = (f"flickr:{image_id}",)
        material.tasks.append(
            ImageTask(image_id, path, entities.width, entities.height, tuple(phrases), true, origin, counts)
        )


def marked_phrases(image_id: str, sentence: str, material: Material) -> list[tuple[str, str, str]]:
    """(chain, category, text) of every `[/EN#chain/category text]`; what is marked otherwise is rejected."""
    found = [(chain, category, " ".join(text.split())) for chain, category, text in _MARKED.findall(sentence)]
    marks = sentence.count(_OPENING)
    material.seen["text"] += marks
    for _ in range(marks - len(found)):
        material.reject("text", image_id, sentence, "a mark that is not [/EN#chain/category text]")
    for _ in [text for _, _, text in found if not text]:
        material.reject("text", image_id, sentence, "a marked phrase without words")
    return [phrase for phrase in found if phrase[2]]


def parse_entities(image_id: str, annotation: bytes, material: Material) -> Entities:
    """The content of an XML file of Annotations/. Raises ValueError or ParseError where it has no size.

    Its corners count pixels from 1 and belong to the box: 1 to 333 is all of an image 333 pixels wide.
    """
    root = ET.fromstring(annotation)
    width, height = (int(root.findtext(f"size/{name}", "")) for name in ("width", "height"))
    objects: list[tuple[tuple[str, ...], Box]] = []
    scenes: set[str] = set()
    for entry in root.iterfind("object"):
        chains = tuple(name.text or "" for name in entry.iterfind("name"))
        corners = entry.find("bndbox")
        if corners is None:
            scenes.update(chains if entry.findtext("scene") == "1" else ())
            continue
        try:
            x1, y1, x2, y2 = (float(corners.findtext(name, "")) for name in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            material.seen["box"] += 1
            material.reject(
                "box", image_id, " ".join(corners.itertext()), "no numbers xmin, ymin, xmax, ymax"
            )
        else:
            objects.append((chains, Box(x1 - 1, y1 - 1, x2, y2)))
    return Entities(width, height, objects, frozenset(scenes))


def _check_layout(unpacked: Place, option: str) -> None:
    for folder in ("Annotations", "Sentences"):
        if not unpacked.join(folder).is_dir():
            archives = [name for name in unpacked.names() if name.startswith("annotations.")]
            remedy = f"unpack {archives[0]} there" if archives else f"{option} is the folder that holds it"
            raise InputError(f"{unpacked.join(folder)}: no such folder; {remedy}")
