"""Ending a training before its last step: ordered by the driver in a file, obeyed by the loop by returning.

A worker that Tune or Ray kills was seen to keep its resources and to hang the next trial; a loop that returns cannot.
The driver imports this: nothing here needs torch.
"""

from typing import Literal, cast

from amc_platform.files import write_text
from amc_platform.training.trial import TrialJob

Order = Literal["stop", "pause"]
"""Leave for good, or leave so that the same command goes on from here."""


def give_order(job: TrialJob, order: Order, *, after: int = 0) -> None:
    """Let `job` end once it has trained `after` steps: `stop` for good, or `pause` with its state saved."""
    write_text(job.order, f"{order} {after}")


def withdraw_order(job: TrialJob) -> None:
    """Forget what was ordered before."""
    job.order.unlink(missing_ok=True)


def order_of(job: TrialJob, steps: int) -> Order | None:
    """What `job` is to do now that it has trained `steps` steps."""
    try:
        order, _, after = job.order.read_text(encoding="utf-8").partition(" ")
    except OSError:  # none was given, or the storage is away
        return None
    return cast(Order, order) if steps >= int(after) else None
