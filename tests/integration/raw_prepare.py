"""Raw files in the layout of Flickr30k Entities, for tests of the whole `amc prepare`."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def write_raw(raw: Path, images: int, size: tuple[int, int] = (320, 240)) -> None:
    """`images` photos of noise, some 25 kB each, with one sentence and one box."""
    for folder in ("Sentences", "Annotations", "flickr30k-images"):
        (raw / folder).mkdir(parents=True)
    width, height = size
    for i in range(images):
        pixels = np.random.default_rng(i).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels.repeat(4, axis=0).repeat(4, axis=1)).save(encoded, "JPEG", quality=90)
        (raw / "flickr30k-images" / f"{i}.jpg").write_bytes(encoded.getvalue())
        (raw / "Sentences" / f"{i}.txt").write_text(f"[/EN#{i + 1}/people Number {i}] is here .\n")
        (raw / "Annotations" / f"{i}.xml").write_text(
            f"<annotation><size><width>{width}</width><height>{height}</height></size><object><name>{i + 1}</name>"
            "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>70</xmax><ymax>80</ymax></bndbox></object></annotation>"
        )
    (raw / "val.txt").write_text("\n".join(map(str, range(images))))
