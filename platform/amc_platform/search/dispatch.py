"""Between what is wanted and who works: a trial is claimed in the ledger, given to a group, and settled."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.search.crew import Crew
from amc_platform.search.ledger import Claim, Ledger
from amc_platform.spec import dump_experiment
from amc_platform.training.orders import give_order, withdraw_order
from amc_platform.training.trial import TrialJob, TrialStatus

Ended = Literal["done", "stopped", "failed", "partial"]
_AGAIN_S = 1.0
_PAUSE_S = 30.0


@dataclass
class Dispatcher:
    """The trials of one command. `step` never waits; call it until `busy` is false."""

    ledger: Ledger
    crew: Crew
    settled: Callable[[TrialJob], bool]
    """Whether nothing is to be done for a trial."""
    ended: dict[str, Ended] = field(default_factory=dict[str, Ended])
    """How each trial ended, by identity."""
    errors: dict[str, str] = field(default_factory=dict[str, str])
    """Label and error of those that failed, by identity."""
    waiting: deque[TrialJob] = field(default_factory=deque[TrialJob])
    running: dict[str, Claim] = field(default_factory=dict[str, Claim])
    _not_before: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def busy(self) -> bool:
        """Whether a trial is wanted that has not ended."""
        return bool(self.waiting or self.running)

    def want(self, job: TrialJob) -> None:
        """Have `job` trained and evaluated; one that is settled ends at once."""
        known = job.identity in self.running or any(other.identity == job.identity for other in self.waiting)
        if self.settled(job):
            self._end(job)
        elif not known:
            self.ended.pop(job.identity, None)
            self.waiting.append(job)

    def stop(self, job: TrialJob) -> None:
        """Let `job` end before its last step, for good. One that another command trains is its own affair."""
        if job.identity in self.running:
            give_order(job, "stop")
        elif any(other.identity == job.identity for other in self.waiting):
            self.waiting = deque(other for other in self.waiting if other.identity != job.identity)
            self._end(job)

    def step(self) -> None:
        """Take note of what ended, start what can start. Raises the error that ended a worker group."""
        ended = self.crew.ended()
        for end in ended:
            self._settle(self.running.pop(end.job.identity), end.error)
        for end in ended:
            if end.fatal is not None:
                raise end.fatal
        for _ in range(len(self.waiting) if self.crew.free else 0):
            job = self.waiting.popleft()
            if not self._begun(job):
                self.waiting.append(job)
            if not self.crew.free:
                break
        self.ledger.beat(self.running.values())

    def pause(self) -> None:
        """Let all trials save their state and end; whoever gives the same command goes on from there."""
        self.waiting.clear()
        for claim in self.running.values():
            give_order(claim.job, "pause")
        deadline = time.monotonic() + _PAUSE_S
        while self.running and time.monotonic() < deadline:
            self.step()
            time.sleep(0.1)

    def leave(self) -> None:
        """Let go of what is still claimed: the workers are gone, or will be with this process."""
        while self.running:
            self._settle(self.running.popitem()[1], "")

    def failure(self) -> InputError | None:
        """What is wrong with the first trial that failed, None where none did."""
        more = f" ({len(self.errors) - 1} more failed)" if len(self.errors) > 1 else ""
        return next((InputError(f"{error}{more}") for error in self.errors.values()), None)

    def _begun(self, job: TrialJob) -> bool:
        """Whether `job` was given to a group, or found settled; else another command has it."""
        now = time.monotonic()
        if now < self._not_before.get(job.identity, 0.0):
            return False
        claim = self.ledger.claim(job)
        if claim is None:
            self._not_before[job.identity] = now + _AGAIN_S
            return False
        if self.settled(job):
            self.ledger.release(claim)
            self._end(job)
            return True
        withdraw_order(job)
        write_text(job.folder / "spec.yaml", dump_experiment(job.experiment))
        try:
            self.crew.start(job)
        except BaseException:
            # No group has it: whoever pauses the others must not wait for this one.
            self._settle(claim, "")
            raise
        self.running[job.identity] = claim
        return True

    def _settle(self, claim: Claim, error: str) -> None:
        job = claim.job
        if error:
            self.errors[job.identity] = f"{job.label}: {error}"
            status = TrialStatus.read(job.folder)
            status.state, status.error = "failed", error
            status.write(job.folder)
        withdraw_order(job)
        self.ledger.settle(claim, self._end(job, failed=bool(error)), error)

    def _end(self, job: TrialJob, *, failed: bool = False) -> Ended:
        state = job.state
        ended: Ended = (
            "failed" if failed else "done" if job.done else "stopped" if state == "stopped" else "partial"
        )
        self.ended[job.identity] = ended
        return ended
