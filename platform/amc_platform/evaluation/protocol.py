"""Protocols: named, hashed answers to "how was this number measured?"."""

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from amc_models.errors import InputError

Resize = Literal["bilinear", "bicubic_antialias"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Everything that decides whether a heatmap hits its phrase.

    Fields with a single allowed value are written down because they enter the hash: a number measured under
    another tie rule or with inclusive boxes is another number.
    """

    name: str
    resolution: int | None
    """Side in pixels of the square network input; None: the network's own image size."""
    resize: Resize
    """How the image is squashed to that square (never cropped, never padded)."""
    boxes: Literal["any", "union"] = "any"
    """`any`: inside at least one box; `union`: inside the smallest box that encloses them all."""
    max_words: int | None = None
    """Words of a phrase that the network reads; None: all of them."""
    upsampling: Literal["bicubic"] = "bicubic"
    """Heatmap to the size of the original image, align_corners=False."""
    point: Literal["first_maximum"] = "first_maximum"
    """The maximum that comes first in row-major order."""
    inside: Literal["strict"] = "strict"
    """x1 < x < x2 and y1 < y < y2: a point on the border is outside."""

    @staticmethod
    def named(name: str) -> "Protocol":
        """The registered protocol of this name; InputError names the nearest one."""
        if name in PROTOCOLS:
            return PROTOCOLS[name]
        near = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(PROTOCOLS))}"
        raise InputError(f"evaluation.protocol: no protocol is named {name!r}; {remedy}")

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical fields."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def words(self, text: str) -> str:
        """The part of a phrase that this protocol lets the network read."""
        return text if self.max_words is None else " ".join(text.split()[: self.max_words])

    def describe(self) -> str:
        """One line for a report."""
        size = "at the network's own size" if self.resolution is None else f"at {self.resolution} px"
        inside = "inside any box" if self.boxes == "any" else "inside the enclosing box"
        words = "" if self.max_words is None else f", at most {self.max_words} words"
        return (
            f"images {size} ({self.resize.replace('_', ', ')}), heatmap upsampled {self.upsampling} to the"
            f" original image, first maximum strictly {inside}{words}"
        )


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("scenes", resolution=None, resize="bilinear"),
        Protocol("flickr30k", resolution=256, resize="bilinear", max_words=50),
        Protocol("refcoco_plus", resolution=384, resize="bicubic_antialias", max_words=30),
        Protocol("referit", resolution=384, resize="bicubic_antialias", max_words=30),
    )
}
"""`scenes` is this project's own; the others are those of the published code (grounding_eval*)."""
