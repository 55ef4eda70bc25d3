"""Storage that is away for a while: a write that it refuses is tried again, for a time that the spec states.

Away means full, read-only, failing, or a mount that is gone. Where the kernel itself waits (NFS mounted hard), a write
never gets here: it takes as long as it takes.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from amc_models.errors import InputError
from amc_platform.files import REFUSALS, UnwritableError

T = TypeVar("T")

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0


class Storage:
    """The storage of `folder`. A trial's threads may share one.

    `witness`: a file in it that is there as long as the storage is; a folder alone may have been made by somebody below
    a mount point whose mount is gone.
    """

    def __init__(
        self, folder: Path, limit_s: float, tell: Callable[[str], None], *, witness: str = ""
    ) -> None:
        self._folder, self._limit_s, self._tell = folder, limit_s, tell
        self._witness = folder / witness
        self._left = threading.Event()

    def write(self, action: Callable[[], T]) -> T:
        """What `action` returns, which writes below the folder and may be called again after it failed.

        Says so when the storage refuses it, and when it no longer does. Raises UnwritableError after `limit_s` seconds,
        and without waiting once an earlier write met that end or `leave` was called.
        """
        began, pause, told = time.monotonic(), _FIRST_PAUSE_S, False
        while True:
            try:
                done = self._attempt(action)
            except UnwritableError as refusal:
                left_s = began + self._limit_s - time.monotonic()
                if left_s <= 0 or self._left.is_set():
                    self._left.set()
                    waited = f" (tried for {self._limit_s:g} s)" if told else ""
                    raise UnwritableError(f"{refusal}{waited}") from refusal
                if not told:
                    self._tell(f"{refusal}; trying again for {self._limit_s:g} s (cluster.storage_timeout_s)")
                    told = True
                self._left.wait(min(pause, left_s))
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                if told:
                    self._tell(f"{self._folder}: written again after {time.monotonic() - began:.1f} s")
                return done

    def leave(self) -> None:
        """Wait no more, in this thread and others: the training has ended."""
        self._left.set()

    def _attempt(self, action: Callable[[], T]) -> T:
        if not self._there():
            # Below a mount point whose mount is gone, folders can be made, and are never seen again.
            raise UnwritableError(f"{self._folder}: is gone; see whether its storage is mounted")
        try:
            return action()
        except UnwritableError:
            raise
        except (OSError, InputError) as error:
            if not self._there():
                raise UnwritableError(f"{self._folder}: went away while it was written") from error
            if isinstance(error, OSError) and error.errno in REFUSALS:
                raise UnwritableError(f"{self._folder}: cannot be written ({error.strerror})") from error
            raise

    def _there(self) -> bool:
        try:
            return self._witness.exists()
        except OSError:
            return False
