"""A trial from its first step to its last evaluation, as every worker of the group runs it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_models.objectives.total import Objectives
from amc_models.weights import load_checkpoint, save_checkpoint
from amc_platform.files import Lock, atomic_path, sweep_temporaries
from amc_platform.tracking.events import Ending
from amc_platform.tracking.journal import Journal
from amc_platform.training.callbacks.base import Callback, StepEnd, Training
from amc_platform.training.callbacks.chosen import callbacks_of
from amc_platform.training.callbacks.orders import Orders
from amc_platform.training.checkpoint import Checkpoints, load_state, newest_intact, remove_states, sweep
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.evaluating import Validation, evaluate_split
from amc_platform.training.start import make_loader, mask_token_id, start_model
from amc_platform.training.step import Stepper
from amc_platform.training.trial import TrialJob, TrialStatus


def run_trial(
    job: TrialJob,
    group: WorkerGroup,
    report: Callable[[str], None] = lambda _: None,
    extra: Sequence[Callback] = (),
) -> None:
    """Train and evaluate `job` as far as it is not done. Rank 0 writes the journal, the weights and the hits.

    `extra` callbacks are called after those that the spec asks for.
    """
    with contextlib.ExitStack() as stack:
        if group.leads:
            stack.enter_context(_alone(job))
        # Decided once for all ranks: what rank 0 writes meanwhile must not change another's mind.
        trained, missing = group.gather((job.trained, job.missing_splits))[0]
        if trained and not missing:
            return
        status = TrialStatus.read(job.folder)
        status.state, status.error = "running", ""
        callbacks = [*callbacks_of(job), Orders(), *extra]
        training = Training(job, group, None, report)
        if group.leads:
            _sweep(job)
            training.journal = stack.enter_context(Journal(job.folder, training.storage))
            if status.memory_halved:
                accumulation = job.experiment.training.accumulation
                training.journal.tags({"memory_halved": "true", "accumulation": accumulation})
        try:
            model = load_checkpoint(job.model) if trained else train(training, callbacks, status)
            if model is None:
                _leave(training, status)
                return
            model.to(group.device).eval()
            for split in missing:
                report(f"{job.label}: evaluating {split}")
                evaluation = evaluate_split(job, model, split, status.steps, group)
                for callback in callbacks:
                    callback.on_evaluate(training, model, evaluation)
            for callback in callbacks:
                callback.on_end(training)
        except BaseException as error:
            _fail(training, callbacks, status, error)
            raise
        status.state = "finished"
        _record(training, status, "FINISHED")


@contextlib.contextmanager
def _alone(job: TrialJob, wait_s: float = 60.0) -> Iterator[None]:
    """Hold the trial's folder: workers whose driver was killed go on for some seconds, and then let go of it."""
    lock = Lock(job.lock)
    if not lock.take(wait_s):
        raise RuntimeError(f"{job.folder}: other workers train there still, after {wait_s:.0f} s")
    try:
        yield
    finally:
        lock.release()


def train(training: Training, callbacks: Sequence[Callback], status: TrialStatus) -> Albef | None:
    """Train from the last saved state, or from the start; returns the final network and writes it.

    None where the driver ordered the trial to end before.
    """
    job, group, spec = training.job, training.group, training.job.experiment
    model = start_model(spec)
    objectives = Objectives(model, spec.objective, mask_token_id(model))
    stepper = Stepper(objectives, spec.training, group, job.seed, spec.cluster.gradient_precision)
    steps = _continue(training, callbacks, stepper, model)
    if status.world_sizes:
        training.report(f"{job.label}: goes on from step {steps}")
    status.world_sizes = (*status.world_sizes, (steps, group.size))
    if group.leads:
        training.storage.write(lambda: status.write(job.folder))
    if steps < spec.training.steps:
        began = time.perf_counter()
        steps = _steps(training, callbacks, stepper, model, steps)
        status.train_seconds += time.perf_counter() - began - training.aside_s
    status.steps = steps
    if training.order:
        return None
    if group.leads:
        training.storage.write(lambda: _finish(job, model, status))
    return model


def _finish(job: TrialJob, model: Albef, status: TrialStatus) -> None:
    """Write the final weights, after which no state is needed."""
    status.write(job.folder)
    with atomic_path(job.model) as folder:
        save_checkpoint(model, folder, momentum=False)
    remove_states(job.states)


def _sweep(job: TrialJob) -> None:
    """Remove what workers left that died while they wrote; the driver's own files lie between theirs."""
    sweep(job.states)
    for name in ("model", "best", "filmstrip", "status.json"):
        sweep_temporaries(job.folder, name)
    for folder in ("evaluations", "validation"):
        sweep_temporaries(job.folder / folder, deep=True)


def _continue(training: Training, callbacks: Sequence[Callback], stepper: Stepper, model: Albef) -> int:
    """Load the newest intact state, which rank 0 chooses for all; returns its step, 0 where there is none."""
    job, group = training.job, training.group

    def tell(line: str) -> None:
        training.report(f"{job.label}: {line}")

    path = group.gather(newest_intact(job.states, tell) if group.leads else None)[0]
    if path is None:
        return 0
    steps, kept = load_state(path, model, stepper.optimizer, job.identity)
    for callback in callbacks:
        if (own := kept.get(type(callback).__name__)) is not None:
            callback.on_load(training, steps, own)
    return steps


def _save(
    training: Training, callbacks: Sequence[Callback], states: Checkpoints, stepper: Stepper, done: int
) -> float:
    """Begin to save the state after `done` steps, on rank 0 of all that call it; returns the seconds it waited."""
    kept = {type(callback).__name__: own for callback in callbacks if (own := callback.on_save(training))}
    if not training.group.leads:
        return 0.0
    return states.save(done, stepper.objectives.model, stepper.optimizer, kept)


def _steps(
    training: Training, callbacks: Sequence[Callback], stepper: Stepper, model: Albef, start: int
) -> int:
    """Train from `start` steps to the last, or until a callback stops it; returns how many steps are done."""
    job, spec = training.job, training.job.experiment.training
    done, loader = start, make_loader(job.experiment, model, training.group)
    validation = Validation(job, training.group)
    for callback in callbacks:
        callback.on_train_start(training, model, loader, done)
    states = Checkpoints(job.states, job.identity, training.group.size, training.storage)
    with contextlib.closing(states) as checkpoints:
        for step, batch in enumerate(loader.batches(start, spec.steps), start=start):
            losses, done = stepper.step(batch, step), step + 1
            if done == start + 1 and training.group.leads:
                checkpoints.prepare(model, stepper.optimizer)
            for callback in callbacks:
                callback.on_step_end(training, StepEnd(done, batch, losses, stepper.rate, stepper.finite))
            with training.aside():
                if validation.due(done):
                    evaluation = validation.run(model, done)
                    for callback in callbacks:
                        callback.on_evaluate(training, model, evaluation)
                if training.order == "pause":
                    _save(training, callbacks, checkpoints, stepper, done)
                if training.order:
                    break
                if training.stopped:
                    training.report(f"{job.label}: stopped at step {done}: {training.stopped}")
                    break
                if done % spec.checkpoint_every == 0 and done < spec.steps:
                    blocked_s = _save(training, callbacks, checkpoints, stepper, done)
                    for callback in callbacks:
                        callback.on_checkpoint(training, done, blocked_s)
        checkpoints.wait()
    return done


def _leave(training: Training, status: TrialStatus) -> None:
    """Record a trial that ends before its last step because the driver ordered so."""
    job = training.job
    status.state = "stopped" if training.order == "stop" else "partial"
    if training.group.leads and training.order == "stop":
        remove_states(job.states)
    _record(training, status, "KILLED")
    training.report(f"{job.label}: {status.state} at step {status.steps}")


def _fail(
    training: Training, callbacks: Sequence[Callback], status: TrialStatus, error: BaseException
) -> None:
    """Say how the trial ended; nothing that goes wrong here hides `error`."""
    text = str(error).split("\n", 1)[0] or type(error).__name__
    status.state, status.error = "failed", text
    training.storage.leave()
    for callback in callbacks:
        with contextlib.suppress(Exception):
            callback.on_error(training, error)
    with contextlib.suppress(OSError, InputError):
        _record(training, status, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", text)


def _record(training: Training, status: TrialStatus, ending: Ending, error: str = "") -> None:
    """Rank 0 writes down how the trial ended."""
    if training.journal is not None:
        training.storage.write(lambda: status.write(training.job.folder))
        training.journal.status(ending, error)
