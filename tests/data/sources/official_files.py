"""Raw files of the datasets as their authors lay them out, made for tests."""

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Expression(NamedTuple):
    """A text about one object; box as x, y, width, height."""

    image: str
    ann_id: int | str
    box: tuple[float, ...]
    text: str
    split: str = "val"


def shared_expression(said: dict[str, Any], dataset: str) -> Expression:
    """An expression of the shared files; boxes of ReferIt are xyxy there, all others xywh."""
    x, y, *rest = said["bbox"]
    box = (x, y, rest[0] - x, rest[1] - y) if dataset == "refclef" else (x, y, *rest)
    return Expression(said["image"], said["ann_id"], box, said["text"], "val")


def write_refer(
    folder: Path, split_by: str, said: Iterable[Expression], sizes: dict[str, tuple[int, int]] | None = None
) -> None:
    """`refs(SPLIT_BY).p` and `instances.json`; images are 640 pixels wide and high where `sizes` does not say."""
    refs: dict[Any, dict[str, Any]] = {}
    for expression in said:
        image_id = int(Path(expression.image).stem.rpartition("_")[2])
        ref = refs.setdefault(
            expression.ann_id,
            {
                "ref_id": len(refs),
                "ann_id": expression.ann_id,
                "image_id": image_id,
                "file_name": f"{Path(expression.image).stem}_{expression.ann_id}.jpg",
                "split": expression.split,
                "category_id": 1,
                "sentences": [],
                "box": expression.box,
                "image": expression.image,
            },
        )
        text = expression.text
        ref["sentences"].append({"sent": text, "raw": text.upper(), "tokens": text.split(), "sent_id": 0})
    images = {ref["image_id"]: ref["image"] for ref in refs.values()}
    annotations = [
        {"id": ref["ann_id"], "image_id": ref["image_id"], "bbox": list(ref.pop("box")), "category_id": 1}
        for ref in refs.values()
    ]
    for ref in refs.values():
        del ref["image"]
    write_instances(folder / "instances.json", images, annotations, sizes)
    (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(list(refs.values()), protocol=2))


def write_instances(
    path: Path,
    images: dict[int, str],
    annotations: list[dict[str, Any]],
    sizes: dict[str, tuple[int, int]] | None = None,
) -> None:
    """A file in COCO's format."""
    entries = []
    for image_id, name in images.items():
        width, height = (sizes or {}).get(name, (640, 640))
        entries.append({"id": image_id, "file_name": name, "width": width, "height": height})
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "apple"}, {"id": 3, "name": "skis"}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": entries, "annotations": annotations, "categories": categories}))


XML = """<annotation><filename>{name}.jpg</filename>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>"""


def write_entities(
    raw: Path, image_id: str, sentences: str, objects: str, size: tuple[int, int] = (100, 80)
) -> None:
    """The two files that Flickr30k Entities has of an image."""
    for folder in ("Sentences", "Annotations"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    (raw / "Sentences" / f"{image_id}.txt").write_text(sentences, encoding="utf-8")
    xml = XML.format(name=image_id, width=size[0], height=size[1], objects=objects)
    (raw / "Annotations" / f"{image_id}.xml").write_text(xml)


def boxed(*chains: str, box: tuple[object, ...]) -> str:
    """An object of an XML file."""
    names = "".join(f"<name>{chain}</name>" for chain in chains)
    edges = "".join(
        f"<{name}>{edge}</{name}>" for name, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object>{names}<bndbox>{edges}</bndbox></object>"


def unboxed(chain: str, scene: int) -> str:
    """An object without a box: the scene of the image, or something nobody drew a box around."""
    return f"<object><name>{chain}</name><scene>{scene}</scene><nobndbox>{1 - scene}</nobndbox></object>"
