"""Where a trial stands, read from its journal as it grows."""

from dataclasses import dataclass, field
from functools import cached_property

from amc_platform.tracking.events import Point
from amc_platform.tracking.journal import JOURNAL
from amc_platform.tracking.reader import JournalReader
from amc_platform.training.trial import TrialJob


@dataclass
class Standing:
    """The steps and the metrics of one trial."""

    job: TrialJob
    steps: int = 0
    latest: dict[str, float] = field(default_factory=dict[str, float])

    @cached_property
    def _reader(self) -> JournalReader:
        return JournalReader(self.job.folder / JOURNAL)

    def read(self) -> list[Point]:
        """Points that came since the last call, in the order of the journal."""
        new: list[Point] = []
        while (batch := self._reader.next_batch()) is not None:
            new += batch.points
        for point in new:
            self.steps = max(self.steps, point.step)
            self.latest[point.key] = point.value
        return new
