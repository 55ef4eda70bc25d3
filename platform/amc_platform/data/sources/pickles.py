"""Reading a pickle that holds data only: whatever would run code is refused before it runs."""

import io
import pickle
from typing import Any, NoReturn

from amc_models.errors import InputError
from amc_platform.data.places import Place


def read_pickle(place: Place) -> Any:
    """The numbers, strings, lists, tuples, dicts and sets in the pickle at `place`.

    Strings that Python 2 wrote are read as UTF-8; a byte that is none becomes a lone surrogate. Raises InputError
    where the file is missing, damaged, or holds anything but data.
    """
    content = io.BytesIO(place.read_bytes())
    try:
        return _DataUnpickler(content, encoding="utf-8", errors="surrogateescape").load()
    except _RefusedError as error:
        raise InputError(
            f"{place}: holds {error}, which could run code; only data are read from a pickle"
        ) from error
    # A damaged pickle raises nearly anything.
    except Exception as error:
        raise InputError(f"{place}: not a readable pickle ({error}); download it again") from error


class _RefusedError(Exception):
    pass


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise _RefusedError(f"{module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _RefusedError("a persistent id")
