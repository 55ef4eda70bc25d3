"""What a training starts with: its network, its vocabulary and its batches."""

from pathlib import Path

import torch

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_models.tokenizer import Tokenizer
from amc_models.weights import load_checkpoint
from amc_platform.data.augmentation import FLIP_OF_PRESET
from amc_platform.data.loader import LoaderConfig, TrainingLoader
from amc_platform.data.reader import open_rows
from amc_platform.spec import Experiment, is_published
from amc_platform.training.distributed import WorkerGroup


def start_model(spec: Experiment) -> Albef:
    """The network of the checkpoint `start_from`, or random weights that follow from the seed.

    A checkpoint folder brings its words; random weights and a published file take those of `vocabulary`.
    """
    torch.manual_seed(spec.seed)
    if spec.start_from is None:
        return Albef(spec.model, _vocabulary(spec.vocabulary))
    vocabulary = _vocabulary(spec.vocabulary) if is_published(spec.start_from) else None
    return load_checkpoint(spec.start_from, spec.model, vocabulary=vocabulary)


def _vocabulary(name: str) -> Tokenizer:
    if name == "scenes":
        from amc_platform.data.sources.scenes import VOCABULARY

        return Tokenizer.of_words(VOCABULARY)
    return Tokenizer.load(Path(name))


def mask_token_id(model: Albef) -> int:
    """Id of [MASK] in the network's vocabulary."""
    return _tokenizer(model).ids["[MASK]"]


def make_loader(spec: Experiment, model: Albef, group: WorkerGroup) -> TrainingLoader:
    """Batches of the training split for this worker."""
    data = spec.data
    rows = open_rows(
        data.table, splits=set(data.splits), kinds=None if data.kinds is None else set(data.kinds)
    )
    config = LoaderConfig(
        images_per_batch=data.images_per_batch,
        phrases_per_image=data.phrases_per_image,
        image_size=spec.model.image_size,
        mask_size=spec.model.mask_size,
        max_tokens=min(data.max_tokens, spec.model.max_positions),
        preset=data.preset,
        flip=data.flip or FLIP_OF_PRESET[data.preset],
        regions=data.regions,
        empty_regions=data.empty_regions,
        mask_words=spec.objective.mask_words,
        false_negatives=spec.objective.false_negatives,
        seed=spec.seed,
        whole_batch=spec.objective.batch == "global",
        threads=data.loader_workers,
        pin_memory=group.device.type == "cuda",
    )
    return TrainingLoader(rows, _tokenizer(model), config, group.rank, group.size)


def _tokenizer(model: Albef) -> Tokenizer:
    if model.tokenizer is None:
        raise InputError(
            "start_from: the checkpoint has no vocab.txt, so texts cannot be read; add the file to its folder"
        )
    return model.tokenizer
