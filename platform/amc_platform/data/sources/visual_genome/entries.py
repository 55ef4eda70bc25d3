"""Entries of a JSON list of hundreds of megabytes, one at a time, without holding the list."""

import json
import re
from collections.abc import Iterator
from typing import Any

from amc_models.errors import InputError
from amc_platform.data.places import Place

CHUNK_BYTES = 1 << 24
MAX_ENTRY_BYTES = 1 << 26
_BETWEEN = re.compile(r"[\s,]*")


class Entries:
    """A JSON list of objects, each about one image; an entry is read when it is asked for.

    Only where each entry lies is held: some 200 bytes an image, in whatever order the file has them.
    Raises InputError where the file is missing, is no such list, or does not say which image an entry is about.
    """

    def __init__(self, place: Place) -> None:
        self._spans: dict[int, tuple[int, int]] = {}
        for start, stop, entry in scan(place):
            image_id = image_id_of(entry)
            if image_id is None:
                raise InputError(f"{place}: byte {start}: an entry without image_id; download the file again")
            self._spans[image_id] = (start, stop)
        self._file = place.open()

    def get(self, image_id: int) -> dict[str, Any]:
        """The entry about an image; {} where there is none."""
        start, stop = self._spans.get(image_id, (0, 0))
        self._file.seek(start)
        return json.loads(self._file.read(stop - start).decode("utf-8", "replace") or "{}")


def image_id_of(entry: Any) -> int | None:
    """The image that an entry is about; `region_descriptions.json` calls it `id`."""
    found = entry.get("image_id", entry.get("id")) if isinstance(entry, dict) else None
    return found if isinstance(found, int) else None


def scan(place: Place) -> Iterator[tuple[int, int, Any]]:
    """(first byte, byte behind, value) of each entry. Raises InputError where the file is no JSON list."""
    decoder = json.JSONDecoder()
    with place.open() as file:
        # As Latin-1 a byte is a character, so that places in the text are places in the file; what becomes
        # of other letters does not matter, as an entry is decoded again when it is asked for.
        text, base = file.read(CHUNK_BYTES).decode("latin-1"), 0
        at = text.find("[") + 1
        if not at or text[: at - 1].strip():
            raise InputError(f"{place}: does not start as a JSON list; download the file again")
        while True:
            between = _BETWEEN.match(text, at)
            at = between.end() if between else at
            if text.startswith("]", at):
                return
            try:
                value, stop = decoder.raw_decode(text, at)
            except ValueError as error:
                more = file.read(CHUNK_BYTES) if len(text) - at <= MAX_ENTRY_BYTES else b""
                if not more:
                    raise InputError(
                        f"{place}: no JSON at byte {base + at} ({error}); download the file again"
                    ) from error
                text, base, at = text[at:] + more.decode("latin-1"), base + at, 0
            else:
                yield base + at, base + stop, value
                at = stop
