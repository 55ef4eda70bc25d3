"""What people are told while a training runs."""

from amc_models.albef import Albef
from amc_platform.training.callbacks.base import Callback, Evaluation, StepEnd, Training


class Progress(Callback):
    """A line at every record of the losses and at every evaluation."""

    def on_step_end(self, training: Training, step: StepEnd) -> None:
        """Say how far it is, and how fast."""
        job, latest = training.job, training.latest
        if job.logs(step.steps):
            training.report(
                f"{job.label}: step {step.steps}/{job.experiment.training.steps}, "
                f"loss {latest['train/loss_total']:.3f}, {latest['train/pairs_per_second']:.0f} pairs/s"
            )

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """Say how well it points."""
        share = evaluation.metrics[evaluation.metric]
        training.report(f"{training.job.label}: {evaluation.metric} {share:.1f} at step {evaluation.steps}")
