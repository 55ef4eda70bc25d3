"""From the files of Visual Genome to the material of a grounding table."""

from collections import Counter
from typing import Any, Literal, get_args

from amc_models.errors import InputError
from amc_platform.data.material import ImageTask, Material, Pictures
from amc_platform.data.places import Address, Place
from amc_platform.data.rows import Phrase
from amc_platform.data.sources.visual_genome.entries import Entries, image_id_of, scan
from amc_platform.data.sources.visual_genome.objects import ImageReader
from amc_platform.data.sources.visual_genome.texts import SPLIT, box_phrases

Texts = Literal["box", "region", "both"]
FOLDERS = ("VG_100K", "VG_100K_2")
"""Where the images are; a file name is in one of them only."""
MIN_AREA = 0.08
"""Boxes of objects that cover less of their image are dropped (section 4.1)."""


def read_visual_genome(
    raw: Address,
    texts: Texts,
    pictures: Pictures,
    images: Address | None = None,
    *,
    min_area: float = MIN_AREA,
) -> Material:
    """Texts about `box`es (attribute, object, spatial), `region` descriptions, or `both`: the rows of Table 3a.

    Only the files that `texts` needs are read. Images are in the folders VG_100K and VG_100K_2 of `images` (None: of
    `raw`), or beside them. Raises InputError where a file is missing or is no list of entries about images.
    """
    if texts not in get_args(Texts):
        raise InputError(f"--texts: {texts!r}; give one of {', '.join(get_args(Texts))}")
    if not 0 <= min_area < 1:
        raise InputError(f"--min-area: {min_area}; give a part of the image, from 0 up to below 1")
    raw, above = Place.of(raw), Place.of(images or raw)
    album = pictures.album([*(above.join(folder) for folder in FOLDERS), above])
    names = () if texts == "region" else ("objects", "attributes")
    names += () if texts == "box" else ("region_descriptions",)
    files = {name: Entries(raw.join(f"{name}.json")) for name in names}
    material = Material({"source": "visual_genome", "split": [SPLIT], "texts": texts, "min_area": min_area})
    for _, _, entry in scan(raw.join("image_data.json")):
        reader = _reader(entry, material)
        if reader is None:
            continue
        image_id, counts = reader.image_id, Counter[str](images=1)
        said = {name: file.get(int(image_id)) for name, file in files.items()}
        phrases, true = _phrases(said, reader, min_area, counts)
        if not phrases:
            material.counts["images_without_phrases"] += 1
            continue
        kept, path = album.find(image_id, f"{image_id}.jpg", material)
        if kept:
            task = ImageTask(
                image_id, path, reader.width, reader.height, phrases, true, origins(entry), counts
            )
            material.tasks.append(task)
    return material


def origins(entry: dict[str, Any]) -> tuple[str, ...]:
    """The photo's ids in the collections that Visual Genome took it from."""
    ids = {"coco": entry.get("coco_id"), "flickr": entry.get("flickr_id")}
    return tuple(f"{name}:{found}" for name, found in ids.items() if found is not None)


def _reader(entry: Any, material: Material) -> ImageReader | None:
    image_id = image_id_of(entry)
    try:
        width, height = int(entry["width"]), int(entry["height"])
    except (KeyError, TypeError, ValueError):
        width = height = 0
    material.seen["image"] += 1
    if image_id is None or width < 1 or height < 1:
        reason = "no image_id, width and height in image_data.json"
        material.reject("image", str(image_id), str(entry), reason)
        return None
    return ImageReader(str(image_id), width, height, material)


def _phrases(
    said: dict[str, dict[str, Any]], reader: ImageReader, min_area: float, counts: Counter[str]
) -> tuple[tuple[Phrase, ...], frozenset[str]]:
    """The image's phrases, and further texts that are true of it.

    Texts are counted, and pairs of a text and a box: the paper does not say which of the two it counts.
    """
    phrases: list[Phrase] = []
    true: frozenset[str] = frozenset()
    if "objects" in said:
        objects = list(reader.objects(said["objects"].get("objects"), said["attributes"].get("attributes")))
        phrases, true = box_phrases(objects, reader.width, reader.height, min_area)
        counts["objects"] += len(objects)
    if "region_descriptions" in said:
        phrases += reader.regions(said["region_descriptions"].get("regions"))
    for phrase in phrases:
        counts[f"texts/{phrase.kind}"] += 1
        counts[f"pairs/{phrase.kind}"] += len(phrase.boxes)
    return tuple(phrases), true
