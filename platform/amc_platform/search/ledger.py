"""The ledger: who works on which trial, and how far each came, so that nothing is trained twice.

The truth about a trial lies in its folder: weights, hits, and `ledger.json`, the mirror of its record. A lock that the
kernel keeps says whether somebody works there. The tracking store (tracking/records.py) carries the record to other
folders, users and machines; while it does not answer, the mirror is enough, and the store hears of it later.
"""

import getpass
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from amc_models.errors import InputError
from amc_platform.files import Lock, sweep_temporaries, write_text
from amc_platform.search.adoption import MIRROR, adopt
from amc_platform.search.cost import speed_key, speed_of
from amc_platform.search.sender import Sender
from amc_platform.tracking.reader import history
from amc_platform.tracking.records import Record, Records, State
from amc_platform.training.trial import TrialJob, TrialStatus

DEAD_AFTER_S = 60.0
"""A heartbeat that is older is that of a dead owner, on a machine whose processes cannot be asked."""
BEAT_S = 15.0
_HOST = platform.node() or "localhost"


@dataclass(frozen=True)
class Claim:
    """The right to work on a trial, until it is settled."""

    job: TrialJob
    lock: Lock


class Ledger:
    """Claims and records of the trials of one command."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._sender = Sender(records)
        self._owner = f"{_user()}@{_HOST}:{os.getpid()}"
        self._known: dict[str, list[Record]] = {}
        self._beaten = 0.0

    def look_up(self, jobs: Sequence[TrialJob], *, adopting: bool = True) -> int:
        """Learn what the store knows of `jobs`, in one request, and adopt what is done elsewhere; returns how many.

        What is done here and not known there is sent.
        """
        found = self._sender.ask([job.identity for job in jobs]) or []
        for job in jobs:
            self._known[job.identity] = [record for record in found if record.identity == job.identity]
        adopted = sum(adopting and not job.done and self._adopted(job) for job in jobs)
        for job in jobs:
            if job.done and not any(
                r.state == "done" and r.place == _place(job) for r in self._known[job.identity]
            ):
                self._put(job, "done")
        return adopted

    def claim(self, job: TrialJob) -> Claim | None:
        """The right to work on `job`; None while another command has it.

        What another place finished meanwhile is adopted: then `job.done`, and the claim is there to be released.
        """
        lock = Lock(job.folder / "lock")
        if not lock.take():
            return None
        try:
            for name in (MIRROR, "spec.yaml", job.order.name):
                sweep_temporaries(job.folder, name)
            # Where locks do not reach other machines, the mirror's heartbeat does.
            mirror = read_mirror(job.folder)
            if mirror and mirror.state == "running" and mirror.host != _HOST and self._lives(mirror):
                lock.release()
                return None
            if not self._records.shared or job.done or self._adopted(job) or self._won(job):
                if not job.done:
                    self._put(job, "running")
                return Claim(job, lock)
        except BaseException:
            lock.release()
            raise
        lock.release()
        return None

    def settle(self, claim: Claim, state: State, error: str = "") -> None:
        """Record how far the trial came, and let go of it."""
        self._put(claim.job, state, error)
        claim.lock.release()

    def release(self, claim: Claim) -> None:
        """Let go of a trial that was found done."""
        claim.lock.release()

    def beat(self, claims: Iterable[Claim]) -> None:
        """Say that this command lives; call it as often as you like."""
        if time.monotonic() - self._beaten >= BEAT_S:
            self._beaten = time.monotonic()
            for claim in claims:
                # While the storage is away, the next one says it; below an empty mount point nothing is to be made.
                with suppress(OSError, InputError):
                    if claim.job.folder.is_dir():
                        self._put(claim.job, "running")

    def name_run(self, job: TrialJob, run_id: str | None) -> None:
        """Record the run that holds the artifacts of a done trial, once they were sent."""
        if run_id and job.done and not job.folder.is_symlink():
            self._put(job, "done", run_id=run_id)

    def close(self, timeout_s: float = 5.0) -> str:
        """Send what is left; returns what kept the store from taking it, empty for nothing."""
        return self._sender.close(timeout_s)

    def _won(self, job: TrialJob) -> bool:
        """Whether this place is the one that works on `job`, among all that want to at this moment.

        Everyone says "claiming" first and looks then. Who sees somebody running, or a claim of a lower place,
        withdraws; who sees a claim of a higher place waits until that one has withdrawn or runs. So of two that look
        at the same time one gives way, and one that comes later sees the other. Without the store nobody is seen.
        """
        self._put(job, "claiming", at_once=True)
        deadline = time.monotonic() + DEAD_AFTER_S
        while time.monotonic() < deadline:
            others = [r for r in self._sender.ask([job.identity]) or [] if r.place != _place(job)]
            others = [r for r in others if r.state in ("claiming", "running") and self._lives(r)]
            if any(r.state == "running" or r.place < _place(job) for r in others):
                self._put(job, "withdrawn", at_once=True)
                return False
            if not others:
                self._put(job, "running", at_once=True)
                return True
            time.sleep(0.2)
        return False

    def _adopted(self, job: TrialJob) -> bool:
        done = [r for r in self._known.get(job.identity, []) if r.state == "done" and r.place != _place(job)]
        if self._records.shared and not done:
            done = [
                r
                for r in self._sender.ask([job.identity]) or []
                if r.state == "done" and r.place != _place(job)
            ]
        return any(adopt(job, record, self._records) for record in done)

    def _lives(self, record: Record) -> bool:
        if record.host == _HOST and not _process_lives(record.owner):
            return False
        return time.time() - record.heartbeat < DEAD_AFTER_S

    def _put(
        self, job: TrialJob, state: State, error: str = "", run_id: str = "", *, at_once: bool = False
    ) -> None:
        record = record_of(job, state, self._owner)
        record = replace(record, error=error or record.error, run_id=run_id or record.run_id)
        write_text(job.folder / MIRROR, record.text())
        self._sender.put(record, at_once=at_once)


def record_of(job: TrialJob, state: State, owner: str) -> Record:
    """What there is to say of a trial."""
    status, mirror = TrialStatus.read(job.folder), read_mirror(job.folder)
    ended = state in ("done", "stopped", "partial", "failed")
    points = history(job.folder) if ended else {}
    last = {name: values[-1].value for name, values in points.items() if not name.startswith("system/")}
    return Record(
        identity=job.identity,
        place=_place(job),
        state=state,
        owner=owner,
        heartbeat=round(time.time(), 1),
        run_id=mirror.run_id if mirror else "",
        evaluations=tuple(
            sorted(
                hits.parent.name.rpartition("-")[2] for hits in job.folder.glob("evaluations/*/hits.parquet")
            )
        ),
        metrics=last or (mirror.metrics if mirror else {}),
        steps=status.steps,
        speed=speed_of(points),
        speed_key=speed_key(job.experiment),
        error=status.error if state == "failed" else "",
    )


def read_mirror(folder: Path) -> Record | None:
    """The record in a trial's folder; None where there is none, or none that can be read."""
    try:
        return Record.of((folder / MIRROR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _place(job: TrialJob) -> str:
    return f"{_HOST}:{job.folder}"


def _process_lives(owner: str) -> bool:
    try:
        os.kill(int(owner.rpartition(":")[2]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"
