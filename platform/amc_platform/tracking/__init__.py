"""Recording runs: journals that training writes, trackers that the driver carries them to."""

from amc_platform.tracking.follower import Clock, JournalFollower, following
from amc_platform.tracking.journal import Journal
from amc_platform.tracking.names import check_name, flatten
from amc_platform.tracking.opening import open_tracker, tracking_uri
from amc_platform.tracking.outbox import Destination, Outbox, ParentRun
from amc_platform.tracking.privacy import quiet_environment
from amc_platform.tracking.reader import history
from amc_platform.tracking.stamps import stamps
from amc_platform.tracking.stream import TrialRun
from amc_platform.tracking.tracker import DataInput

__all__ = [
    "Clock",
    "DataInput",
    "Destination",
    "Journal",
    "JournalFollower",
    "Outbox",
    "ParentRun",
    "TrialRun",
    "check_name",
    "flatten",
    "following",
    "history",
    "open_tracker",
    "quiet_environment",
    "stamps",
    "tracking_uri",
]
