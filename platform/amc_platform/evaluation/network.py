"""A network as the evaluator sees it: pictures in, heatmaps out."""

import copy
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.albef import Albef
from amc_models.gradcam import heatmaps
from amc_models.vision import interpolate_positions
from amc_models.weights import load_checkpoint
from amc_platform.data.rows import ImageRow
from amc_platform.evaluation.evaluator import HeatmapsOf, LoadImage
from amc_platform.evaluation.pictures import network_input
from amc_platform.evaluation.protocol import Protocol


def load_network(checkpoint: Path, protocol: Protocol, vocabulary: Path | None = None) -> Albef:
    """The network of a checkpoint in evaluation, at the protocol's resolution, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_checkpoint(checkpoint, vocabulary=vocabulary).to(device).eval()
    return at_resolution(model, protocol.resolution)


def at_resolution(model: Albef, size: int | None) -> Albef:
    """The network for images of `size` pixels a side (None: as it is): positions are interpolated, all else is shared.

    Raises InputError where `size` is no multiple of the patch.
    """
    if size is None or size == model.config.image_size:
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    resized = copy.deepcopy(model, shared)
    resized.config = model.config.at(size)
    with torch.device("meta"):
        encoder = type(model.visual_encoder)(resized.config)
    state = model.visual_encoder.state_dict()
    state["pos_embed"] = interpolate_positions(state["pos_embed"], resized.config.grid_size)
    encoder.load_state_dict(state, assign=True)
    if resized.config.vision is not None:
        # Made for no resolution; and what a network of timm keeps besides its state dict has no content on `meta`.
        encoder.patch_embed = resized.visual_encoder.patch_embed
    resized.visual_encoder = encoder.train(model.training)
    return resized


def heatmaps_of(model: Albef) -> HeatmapsOf:
    """The network's heatmaps, in the form `evaluate` asks for."""
    return lambda images, phrases: heatmaps(model, images, phrases)


def image_loader(model: Albef, protocol: Protocol) -> LoadImage:
    """How a row's picture becomes the network's input under `protocol`; `model` is at its resolution."""
    size, device = model.config.image_size, model.temp.device

    def load(row: ImageRow) -> Float[Tensor, "3 size size"]:
        return network_input(row, size, protocol.resize).to(device)

    return load
