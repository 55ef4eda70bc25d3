"""Heatmaps of fixed phrases."""

from amc_models.albef import Albef
from amc_platform.evaluation.gallery import gallery_rows, write_gallery
from amc_platform.evaluation.network import at_resolution, heatmaps_of, image_loader
from amc_platform.evaluation.shots import take_shots
from amc_platform.training.callbacks.base import Callback, Evaluation, Training


class Gallery(Callback):
    """Draws `evaluation.gallery` heatmaps at every evaluation, always of the same phrases, so that epochs compare."""

    def on_evaluate(self, training: Training, model: Albef, evaluation: Evaluation) -> None:
        """Rank 0 draws; the others have nothing to wait for."""
        if training.journal is None:
            return
        job = training.job
        resized = at_resolution(model, job.protocol.resolution)
        rows = gallery_rows(evaluation.rows, job.experiment.evaluation.gallery)
        shots = take_shots(heatmaps_of(resized), rows, job.protocol, image_loader(resized, job.protocol))
        # A validation's folder holds nothing else; at the end the hits lie beside it.
        inside = "/gallery" if evaluation.final else ""
        folder = evaluation.folder.joinpath(inside.strip("/"))
        training.storage.write(lambda: write_gallery(folder, shots))
        training.journal.artifact(folder, evaluation.artifacts + inside)
