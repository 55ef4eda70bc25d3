"""The thread that carries records to the tracking store, so that no training waits for it."""

import threading
import time
from collections.abc import Collection

from amc_platform.tracking.opening import without_credentials
from amc_platform.tracking.records import Record, Records

_PAUSE_S = 5.0
_SILENT_S = 60.0
"""How long a store that did not answer is not asked again."""


class Sender:
    """Keeps the last record of every (identity, place) until the store has taken it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: dict[tuple[str, str], Record] = {}
        self._lock = threading.Lock()
        self._store = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._silent_until = 0.0
        self.trouble = ""

    def put(self, record: Record, *, at_once: bool = False) -> None:
        """Send `record` soon; `at_once`: now, where the store answers."""
        key = (record.identity, record.place)
        with self._lock:
            self._waiting[key] = record
        if at_once and time.monotonic() >= self._silent_until:
            self._send(key, record)
        elif self._thread is None:
            # A daemon: a request that hangs must not keep the command from leaving.
            self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
            self._thread.start()
        self._wake.set()

    def ask(self, identities: Collection[str]) -> list[Record] | None:
        """The store's records of `identities`; None where it does not answer."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            with self._store:
                found = self._records.find(identities)
        except Exception as error:
            self._fail(error)
            return None
        return found

    def close(self, timeout_s: float) -> str:
        """Send what is left within `timeout_s`; returns what is wrong with the store, empty for nothing."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._lock:
            left = len(self._waiting)
        return (
            f"{left} records of the ledger are kept in the trials' folders ({self.trouble})" if left else ""
        )

    def _work(self) -> None:
        while True:
            with self._lock:
                waiting = list(self._waiting.items())
            # All are tried, also after one that failed.
            sent = [self._send(key, record) for key, record in waiting].count(False) == 0
            if self._closing and not (sent and waiting):
                return
            self._wake.clear()
            if not self._closing:
                self._wake.wait(None if sent else _PAUSE_S)

    def _send(self, key: tuple[str, str], record: Record) -> bool:
        try:
            with self._store:
                self._records.put(record)
        except Exception as error:
            self._fail(error)
            return False
        with self._lock:
            if self._waiting.get(key) is record:
                del self._waiting[key]
        return True

    def _fail(self, error: Exception) -> None:
        self._silent_until = time.monotonic() + _SILENT_S
        self.trouble = without_credentials(" ".join(str(error).split()))[:200]
