"""A network as the evaluator sees it: pictures in, heatmaps out."""

from jaxtyping import Float
from torch import Tensor

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_models.gradcam import heatmaps
from amc_models.vision import normalise_pixels
from amc_platform.data.rows import ImageRow
from amc_platform.data.transforms import decode, resize
from amc_platform.evaluation.evaluator import HeatmapsOf, LoadImage
from amc_platform.evaluation.protocol import Protocol


def heatmaps_of(model: Albef) -> HeatmapsOf:
    """The network's heatmaps, in the form `evaluate` asks for."""
    return lambda images, phrases: heatmaps(model, images, phrases)


def image_loader(model: Albef, protocol: Protocol) -> LoadImage:
    """How a row's picture becomes the network's input under `protocol`.

    Raises InputError where the protocol asks for a resolution or a resizing that the network or this version lacks.
    """
    size, device = protocol.resolution or model.config.image_size, model.temp.device
    if size != model.config.image_size:
        raise InputError(
            f"evaluation.protocol: {protocol.name} asks for {size} px, the network takes {model.config.image_size} px"
        )

    def load(row: ImageRow) -> Float[Tensor, "3 size size"]:
        return normalise_pixels(resize(decode(row), size, protocol.resize)[None])[0].to(device)

    return load
