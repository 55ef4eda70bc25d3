"""Addresses of files and folders: a local path, or whatever else pyarrow.fs knows, such as s3://bucket/folder."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Union

import pyarrow as pa
from pyarrow import fs

from amc_models.errors import InputError
from amc_platform.files import atomic_path

Address = Union[str, Path, "Place"]
"""What `Place.of` understands."""


@dataclass(frozen=True)
class Place:
    """A file or folder that may or may not be there; `name` is its address as it was given."""

    filesystem: fs.FileSystem
    path: str
    name: str

    @classmethod
    def of(cls, address: Address) -> "Place":
        """The place at `address`.

        An S3 server other than Amazon's is named by AWS_ENDPOINT_URL, or by `?endpoint_override=` behind
        the address. Raises InputError where the address cannot be understood.
        """
        if isinstance(address, Place):
            return address
        if isinstance(address, Path) or "://" not in address:
            return cls(_LOCAL, os.path.abspath(address), str(address))  # noqa: PTH100
        location, _, query = address.partition("?")
        folder, _, last = location.rstrip("/").rpartition("/")
        if folder.endswith("/"):  # a bucket alone: no folder is left before it
            folder, last = location, ""
        filesystem, path = _filesystem(f"{folder}?{query}" if query else folder)
        return cls(filesystem, f"{path}/{last}" if last else path, address)

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """What `of` makes this place from in any process, wherever it runs."""
        return self.path if self.is_local else self.name

    @property
    def is_local(self) -> bool:
        """Whether it is in a file system of this machine."""
        return self.filesystem is _LOCAL

    def join(self, *names: str) -> "Place":
        """The place of that name below this folder."""
        return self._changed(lambda path: "/".join([path, *names]))

    def renamed(self, suffix: str) -> "Place":
        """The place beside this one whose name ends in `suffix` instead of `.parquet`."""
        return self._changed(lambda path: path.removesuffix(".parquet") + suffix)

    def _changed(self, change: Callable[[str], str]) -> "Place":
        location, mark, query = (self.name, "", "") if self.is_local else self.name.partition("?")
        return Place(self.filesystem, change(self.path), change(location.rstrip("/")) + mark + query)

    def exists(self) -> bool:
        """Whether a file or a folder is there."""
        return self._type() != fs.FileType.NotFound

    def is_dir(self) -> bool:
        """Whether a folder is there."""
        return self._type() == fs.FileType.Directory

    def names(self) -> list[str]:
        """What the folder holds, sorted; nothing where there is no folder."""
        with self._errors():
            found = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return sorted(entry.base_name for entry in found)

    def open(self) -> Any:
        """The file as pyarrow opens it, for reading at any position. Raises InputError where it cannot be opened."""
        with self._errors():
            return self.filesystem.open_input_file(self.path)

    def read_bytes(self) -> bytes:
        """The whole file. Raises InputError where it cannot be read."""
        with self._errors(), self.filesystem.open_input_file(self.path) as file:
            return file.read()

    def read_text(self) -> str:
        """The whole file as UTF-8. Raises InputError where it cannot be read."""
        try:
            return self.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{self}: not UTF-8 ({error}); download it again") from error

    @contextmanager
    def written(self) -> Iterator[Path]:
        """Yield a local file to write; once it is whole it appears at this place, never half of it."""
        if self.is_local:
            with atomic_path(self.path) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory(prefix="amc-upload-") as folder:
            temporary = Path(folder) / "file"
            yield temporary
            with self._errors("written"):
                fs.copy_files(str(temporary), self.path, _LOCAL, self.filesystem)

    def _type(self) -> Any:
        with self._errors():
            return self.filesystem.get_file_info(self.path).type

    @contextmanager
    def _errors(self, what: str = "read") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise InputError(f"{self}: no such file; check the address") from error
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(f"{self}: cannot be {what} ({reason}); check address and access") from error


def read_each(places: Iterable[Place]) -> Iterator[bytes | InputError]:
    """The bytes of each of many small files in turn, or why it cannot be read; from afar many at once."""
    files = list(places)
    if all(place.is_local for place in files):
        yield from map(_bytes_or_error, files)
        return
    with ThreadPoolExecutor(32) as pool:
        yield from pool.map(_bytes_or_error, files)


def _bytes_or_error(place: Place) -> bytes | InputError:
    try:
        return place.read_bytes()
    except InputError as error:
        return error


_LOCAL = fs.LocalFileSystem()


@lru_cache(maxsize=256)
def _filesystem(folder: str) -> tuple[Any, str]:
    """Opened once a folder and process: it holds connections and looks for credentials."""
    try:
        return fs.FileSystem.from_uri(folder)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{folder}: not an address that can be opened ({reason})") from error
