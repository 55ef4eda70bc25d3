"""Which files the encoders of a network start from. Imports no torch."""

from pathlib import Path

from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.vocabulary import vocabulary_file

TEXT_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def encoder_files(config: AlbefConfig) -> list[Path]:
    """The files that `vision.weights` and `text.transformers` name, the vocabulary last.

    Raises InputError where one of them is not there.
    """
    files: list[Path] = []
    if config.vision is not None and config.vision.weights is not None:
        files.append(Path(config.vision.weights))
        if not files[0].is_file():
            raise InputError(
                f"model.vision.weights: {files[0]} is not there; put the weights of timm's {config.vision.timm} there"
            )
    if config.text is not None:
        folder = Path(config.text.transformers)
        files += [text_config_file(folder), text_weights_file(folder), vocabulary_file(folder)]
    return files


def text_config_file(folder: Path) -> Path:
    """The config.json of a BERT's folder."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"model.text.transformers: {path} is not there; name a folder with it, {TEXT_WEIGHTS[0]} and vocab.txt"
        )
    return path


def text_weights_file(folder: Path) -> Path:
    """The weights in a BERT's folder."""
    for name in TEXT_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"model.text.transformers: {folder} holds no weights; put {' or '.join(TEXT_WEIGHTS)} there"
    )
