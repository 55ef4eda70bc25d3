"""Workers that have a callback more than their spec says."""

from collections.abc import Callable, Sequence

from amc_platform.training import loop
from amc_platform.training.callbacks.base import Callback
from amc_platform.training.trial import TrialJob


def run_trial_with(callback: Callback) -> Callable[..., None]:
    """What may stand in the place of `loop.run_trial`."""
    real = loop.run_trial

    def run_trial(job: TrialJob, group: object, report: object, extra: Sequence[Callback] = ()) -> None:
        real(job, group, report, [*extra, callback])  # type: ignore[arg-type]

    return run_trial
