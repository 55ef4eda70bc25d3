"""How images are stored in a table: as they are, or made smaller once, so that training reads and decodes less."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from PIL import Image, UnidentifiedImageError

from amc_models.errors import InputError
from amc_platform.data.places import Place

Fit = Literal["longest", "square"]


@dataclass(frozen=True, slots=True)
class Storing:
    """image_size: None leaves the bytes of a file as they are; else images become JPEG of `quality`.

    fit `longest`: no edge is longer than `image_size` pixels; the shape stays, and images that are small enough
    are left as they are. `square`: `image_size` pixels wide and high, squashed as the network squashes them.
    """

    image_size: int | None = None
    fit: Fit = "longest"
    quality: int = 90


class ImageFile(NamedTuple):
    """An image to read, and the size that its annotations give it."""

    path: str
    width: int
    height: int


class Unreadable(NamedTuple):
    """Why an image cannot be stored."""

    reason: str


def encode_files(files: Sequence[ImageFile], storing: Storing) -> list[bytes | Unreadable]:
    """What is stored for each of `files`; runs in a process, or on another machine."""
    return [encode_file(file, storing) for file in files]


def encode_file(file: ImageFile, storing: Storing) -> bytes | Unreadable:
    """The bytes to store. Every image is decoded once, so that a cut or broken one is found here."""
    try:
        return encode(Place.of(file.path).read_bytes(), (file.width, file.height), storing)
    except InputError as error:
        return Unreadable(str(error))


def encode(original: bytes, size: tuple[int, int], storing: Storing) -> bytes | Unreadable:
    """The bytes to store for an image that is annotated as `size` (width, height) pixels large.

    EXIF orientation is not applied, here or where tables are read: boxes are of the pixels as they are stored.
    """
    try:
        with Image.open(io.BytesIO(original)) as image:
            if image.size != size:
                return Unreadable(
                    f"the file has {_text(image.size)} pixels, its annotations say {_text(size)}"
                )
            target = _target(size, storing)
            if target == size and (storing.fit == "longest" or storing.image_size is None):
                image.load()
                return original
            # A JPEG is decoded at a half, a quarter or an eighth already where that is three times the target still.
            drafted = image.draft(None, (3 * target[0], 3 * target[1]))
            box = drafted[1] if drafted else None
            small = image.convert("RGB").resize(target, Image.Resampling.BICUBIC, box, reducing_gap=3)
            stored = io.BytesIO()
            small.save(stored, "JPEG", quality=storing.quality)
            return stored.getvalue()
    except UnidentifiedImageError:
        return Unreadable("not an image, or of an unknown kind")
    # Decoders raise nearly anything for broken bytes: OSError, SyntaxError, struct.error, DecompressionBombError.
    except Exception as error:
        return Unreadable(f"cannot be decoded ({type(error).__name__}: {error})")


def _target(size: tuple[int, int], storing: Storing) -> tuple[int, int]:
    if storing.image_size is None:
        return size
    if storing.fit == "square":
        return storing.image_size, storing.image_size
    scale = min(1.0, storing.image_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
