"""RefCOCO, RefCOCO+, RefCOCOg and ReferIt: expressions that refer to one object. The rules: data/README.md."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.material import ImageTask, Material, Pictures
from amc_platform.data.places import Address, Place
from amc_platform.data.rows import Phrase
from amc_platform.data.sources.instances import Instances, box_of, read_instances
from amc_platform.data.sources.pickles import read_pickle

SPLITTERS = {
    "refcoco": ("unc", "google"),
    "refcoco+": ("unc",),
    "refcocog": ("umd", "google"),
    "refclef": ("berkeley", "unc"),
}
"""Who split each dataset; the first is the usual one. ReferIt's files are called refclef."""
IMAGE_FOLDERS = {
    "refclef": ("images/saiapr_tc-12", "saiapr_tc-12", "images"),
    "": ("images/mscoco/images/train2014", "train2014", "images"),
}


@dataclass
class _Said:
    """What is said of one image."""

    phrases: list[Phrase] = field(default_factory=list[Phrase])
    objects: set[Any] = field(default_factory=set[Any])


def read_refer(
    raw: Address,
    dataset: str,
    split_by: str | None,
    splits: Sequence[str],
    pictures: Pictures,
    images: Address | None = None,
) -> Material:
    """Expressions of `splits` (none given: all), as `split_by` split them (None: the usual way).

    `raw` is the dataset's folder with `refs(SPLIT_BY).p` and `instances.json`, or the folder above it. Raises
    InputError where a file is missing or is not what it should be, and where a split is unknown.
    """
    split_by = split_by or SPLITTERS[dataset][0]
    if split_by not in SPLITTERS[dataset]:
        raise InputError(
            f"--split-by: {dataset} is not split by {split_by}; give {' or '.join(SPLITTERS[dataset])}"
        )
    raw = Place.of(raw)
    folder = raw.join(dataset) if raw.join(dataset).is_dir() else raw
    refs = _refs(folder.join(f"refs({split_by}).p"), splits)
    name = {"refcoco+": "refcoco_plus", "refclef": "referit"}.get(dataset, dataset)
    material = Material(
        {"source": name, "split_by": split_by, "split": sorted({ref["split"] for ref in refs})}
    )
    instances = read_instances(folder.join("instances.json"), material)
    folders = IMAGE_FOLDERS["refclef" if dataset == "refclef" else ""]
    album = pictures.album([Place.of(images)] if images else [raw.join(*name.split("/")) for name in folders])
    for image_id, said in _by_image(refs, instances, material).items():
        image = instances.images[image_id]
        counts = Counter(images=1, objects=len(said.objects), expressions=len(said.phrases))
        kept, path = album.find(str(image_id), image.file_name, material)
        if kept:
            origins = () if dataset == "refclef" else (f"coco:{image_id}",)
            phrases = tuple(said.phrases)
            material.tasks.append(
                ImageTask(
                    str(image_id), path, image.width, image.height, phrases, origins=origins, counts=counts
                )
            )
    return material


def _refs(place: Place, splits: Sequence[str]) -> list[dict[str, Any]]:
    """The refs of `splits` (none given: all)."""
    refs: Any = read_pickle(place)
    try:
        found = Counter(ref["split"] for ref in refs)
        refs = [ref for ref in refs if not splits or ref["split"] in splits]
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{place}: not a list of refs with a split ({error!r}); download it again"
        ) from error
    unknown = [split for split in splits if split not in found]
    if unknown or not refs:
        there = ", ".join(f"{split} ({count:,} refs)" for split, count in found.items()) or "nothing"
        raise InputError(f"{place}: no split {', '.join(unknown) or 'at all'}; it holds {there}")
    return refs


def _by_image(refs: Iterable[dict[str, Any]], instances: Instances, material: Material) -> dict[int, _Said]:
    """What is said of each image, in the order in which images come up."""
    said: dict[int, _Said] = {}
    missing: set[Any] = set()
    for ref in refs:
        image_id = ref.get("image_id")
        if image_id not in instances.images:
            if image_id not in missing:
                material.seen["image"] += 1
                material.reject("image", str(image_id), f"ref {ref.get('ref_id')}", "not in instances.json")
            missing.add(image_id)
            continue
        if image_id not in said:
            material.seen["image"] += 1
        here = said.setdefault(image_id, _Said())
        boxes = _boxes(ref, image_id, instances, material)
        if boxes:
            here.objects.add(ref["ann_id"])
            texts = _texts(ref, image_id, material)
            here.phrases += [Phrase(text, boxes, "referring", "", ref["split"], False) for text in texts]
    return said


def _boxes(ref: dict[str, Any], image_id: int, instances: Instances, material: Material) -> tuple[Box, ...]:
    annotation = instances.annotations.get(ref.get("ann_id"))
    if annotation is None:
        material.seen["box"] += 1
        material.reject("box", str(image_id), f"annotation {ref.get('ann_id')}", "not in instances.json")
        return ()
    image = instances.images[image_id]
    return material.usable_boxes(str(image_id), [box_of(annotation)], image.width, image.height)


def _texts(ref: dict[str, Any], image_id: int, material: Material) -> list[str]:
    """The expressions, as the dataset's authors cleaned them (`sent`)."""
    texts: list[str] = []
    for sentence in ref.get("sentences") or [{}]:
        material.seen["text"] += 1
        try:
            text = " ".join(sentence["sent"].split())
            text.encode("utf-8")
        except (KeyError, TypeError, AttributeError, UnicodeEncodeError) as error:
            material.reject("text", str(image_id), f"ref {ref.get('ref_id')}", f"no text: {error!r}")
            continue
        if text:
            texts.append(text)
        else:
            material.reject("text", str(image_id), f"ref {ref.get('ref_id')}", "an empty expression")
    return texts
