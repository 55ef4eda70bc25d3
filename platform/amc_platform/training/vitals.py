"""Whether the Ray that a command works with is still there.

Ray ends a process that lost its raylet or its head, later and without a word: who looks first can say what is wrong.
"""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_EVERY_S = 1.0
_TIMEOUT_S = 2.0


class Vitals:
    """Looks at most once a second at `addresses` (what listens there: host and port)."""

    def __init__(self, addresses: Mapping[str, tuple[str, int]]) -> None:
        self._addresses = addresses
        self._refused: set[str] = set()
        self._next = 0.0

    def lost(self) -> str | None:
        """What refused a connection twice, a second apart; None while all is well.

        A network that does not answer in time proves nothing: that is left to Ray's own heartbeats.
        """
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + _EVERY_S
        before, self._refused = self._refused, {name for name in self._addresses if self._refuses(name)}
        return next(iter(sorted(before & self._refused)), None)

    def _refuses(self, name: str) -> bool:
        try:
            with suppress(TimeoutError), socket.create_connection(self._addresses[name], _TIMEOUT_S):
                pass
        except OSError:
            return True
        return False
