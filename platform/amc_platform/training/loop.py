"""A trial from its first step to its last evaluation, as every worker of the group runs it."""

import contextlib
from collections.abc import Callable

from amc_models.albef import Albef
from amc_models.objectives.total import Objectives
from amc_models.weights import load_checkpoint, save_checkpoint
from amc_platform.files import atomic_path
from amc_platform.tracking.journal import Journal
from amc_platform.training.callbacks import LossMeter, Validation, evaluate_split
from amc_platform.training.checkpoint import load_state, remove_states, save_state
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.start import make_loader, mask_token_id, start_model
from amc_platform.training.step import Stepper
from amc_platform.training.trial import TrialJob, TrialStatus

Progress = Callable[[str], None]


def run_trial(job: TrialJob, group: WorkerGroup, report: Progress = lambda _: None) -> None:
    """Train and evaluate `job` as far as it is not done. Rank 0 writes the journal, the weights and the hits."""
    # Decided once for all ranks: what rank 0 writes meanwhile must not change another's mind.
    trained, missing = group.gather((job.trained, job.missing_splits))[0]
    if trained and not missing:
        return
    status = TrialStatus.read(job.folder)
    status.state, status.error = "running", ""
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(job.folder)) if group.leads else None
        try:
            model = load_checkpoint(job.model) if trained else train(job, group, journal, status, report)
            model.to(group.device).eval()
            for split in missing:
                report(f"{job.label}: evaluating {split}")
                evaluate_split(job, model, split, group, journal)
        except BaseException as error:
            status.state, status.error = "failed", str(error).split("\n", 1)[0]
            if group.leads:
                status.write(job.folder)
            if journal is not None:
                journal.status("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        status.state = "finished"
        if journal is not None:
            status.write(job.folder)
            journal.status("FINISHED")


def train(
    job: TrialJob, group: WorkerGroup, journal: Journal | None, status: TrialStatus, report: Progress
) -> Albef:
    """Train from the last saved state, or from the start; returns the final network and writes it."""
    spec = job.experiment
    model = start_model(spec)
    stepper = Stepper(Objectives(model, spec.objective, mask_token_id(model)), spec.training, group, job.seed)
    done = load_state(job.states, model, stepper.optimizer)
    status.world_sizes = (*status.world_sizes, (done, group.size))
    if group.leads:
        status.write(job.folder)
    if done < spec.training.steps:
        loader = make_loader(spec, model, group)
        meter = LossMeter(job, group, journal, report)
        validation = Validation(job, group, journal)
        for step, batch in enumerate(loader.batches(done, spec.training.steps), start=done):
            meter.add(step, stepper.step(batch, step), stepper.rate)
            validation.after(step, model)
            if (
                group.leads
                and (step + 1) % spec.training.checkpoint_every == 0
                and step + 1 < spec.training.steps
            ):
                save_state(job.states, step + 1, model, stepper.optimizer)
        status.train_seconds += meter.seconds
    status.steps = spec.training.steps
    if group.leads:
        with atomic_path(job.model) as folder:
            save_checkpoint(model, folder, momentum=False)
        remove_states(job.states)
    return model
