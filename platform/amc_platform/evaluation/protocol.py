"""Protocols: named, hashed answers to "how was this number measured?"."""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from amc_models.errors import InputError
from amc_platform.spec.errors import input_error
from amc_platform.spec.yaml_text import parse

Resize = Literal["bilinear", "opencv_bilinear", "pil_bicubic"]


class Protocol(BaseModel):
    """Everything that decides whether a heatmap hits its phrase.

    Fields with a single allowed value are written down because they enter the hash: a number measured under
    another tie rule or with inclusive boxes is another number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, description="What the protocol is called in results.")
    resolution: PositiveInt | None = Field(
        default=None, description="Side in pixels of the square network input; null: the network's own."
    )
    resize: Resize = Field(
        default="bilinear",
        description="How the image is squashed to that square, never cropped and never padded: torch's bilinear,"
        " OpenCV's, or PIL's bicubic, which antialiases.",
    )
    boxes: Literal["any", "union"] = Field(
        default="any",
        description="Inside at least one box of the phrase, or inside the smallest that encloses them all.",
    )
    text: Literal["as_is", "cleaned"] = Field(
        default="as_is",
        description="The phrase as it stands, or lower case without punctuation (the published pre_caption).",
    )
    max_words: PositiveInt | None = Field(
        default=None, description="Words of a phrase that the network reads; null: all of them."
    )
    upsampling: Literal["bicubic"] = Field(
        default="bicubic", description="Heatmap to the size of the original image, align_corners=False."
    )
    point: Literal["first_maximum", "box_centre"] = Field(
        default="first_maximum",
        description="The heatmap's maximum that comes first row by row, or the centre of a detector's box.",
    )
    inside: Literal["strict"] = Field(
        default="strict", description="x1 < x < x2 and y1 < y < y2: a point on the border is outside."
    )

    @staticmethod
    def find(name: str) -> "Protocol":
        """The registered protocol `name`, or that of the YAML file of this path; InputError says what is wrong."""
        return _read(Path(name)) if Path(name).suffix in (".yaml", ".yml") else Protocol.named(name)

    @staticmethod
    def named(name: str) -> "Protocol":
        """The registered protocol of this name; InputError names the nearest one."""
        if name in PROTOCOLS:
            return PROTOCOLS[name]
        near = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.4)
        remedy = (
            f"did you mean {near[0]}?" if near else f"choose one of {', '.join(PROTOCOLS)}, or a .yaml file"
        )
        raise InputError(f"evaluation.protocol: no protocol is named {name!r}; {remedy}")

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical fields."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def words(self, text: str) -> str:
        """The part of a phrase that this protocol lets the network read."""
        if self.text == "cleaned":
            from amc_models.tokenizer import clean_caption

            return clean_caption(text, self.max_words)
        return text if self.max_words is None else " ".join(text.split()[: self.max_words])

    def describe(self) -> str:
        """One line for a report."""
        inside = f"strictly inside {'any box' if self.boxes == 'any' else 'the enclosing box'}"
        if self.point == "box_centre":
            return f"centre of the box that a detector gives, {inside}"
        size = "at the network's own size" if self.resolution is None else f"at {self.resolution} px"
        text = ", text without punctuation" if self.text == "cleaned" else ""
        words = "" if self.max_words is None else f", at most {self.max_words} words"
        return (
            f"images {size} ({self.resize.replace('_', ' ')}), heatmap upsampled {self.upsampling} to the"
            f" original image, first maximum {inside}{text}{words}"
        )


def _read(path: Path) -> Protocol:
    """A protocol of one's own; its name is by default that of the file."""
    try:
        root = parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); name a YAML file with a protocol's fields"
        ) from error
    fields = root.plain()
    if not isinstance(fields, dict):
        raise InputError(f"{path}: must be a mapping of fields; write `resolution: 384`")
    try:
        protocol = Protocol.model_validate({"name": path.stem, **fields})
    except ValidationError as error:
        raise input_error(error, root, Protocol) from error
    if protocol.name in PROTOCOLS and protocol != PROTOCOLS[protocol.name]:
        raise InputError(f"{path}: name: {protocol.name} is another protocol's; choose a name of your own")
    return protocol


def _published(name: str, resolution: int, resize: Resize, max_words: int) -> Protocol:
    return Protocol(name=name, resolution=resolution, resize=resize, text="cleaned", max_words=max_words)


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="scenes"),
        Protocol(name="paper", resolution=256),
        _published("published-flickr30k", 256, "opencv_bilinear", 50),
        _published("published-refcoco-plus", 384, "pil_bicubic", 30),
        _published("published-referit", 384, "pil_bicubic", 30),
        Protocol(name="box-centre", point="box_centre"),
    )
}
"""`scenes` is this project's own. `published-*` is what the published code does. `paper` is what the paper says; it
names no resolution for evaluation, so that of its training stands here. `box-centre` sets detectors beside heatmaps.
"""
