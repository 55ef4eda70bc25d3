"""Kinds of values that a spec holds: paths, names, seeds, the network by its preset."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from amc_models.config import PRESETS, AlbefConfig
from amc_models.registered import is_registered
from amc_platform.spec.suggestions import either, hint


class Section(BaseModel):
    """Base of all sections: frozen, no unknown fields, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def refuse(path: str, problem: str) -> PydanticCustomError:
    """A validator's error about the field at `path` below its model; a ValueError would name the model."""
    return PydanticCustomError("spec", "{problem}", {"path": path, "problem": problem})


def _named(path: Any) -> Any:
    if path == "":
        raise refuse("", "is empty; name a path")
    return path


def _checkpoint(path: Path) -> Path:
    return path if is_registered(path) else _absolute(path)


def _absolute(path: Path) -> Path:
    # Workers run in folders of their own, so no relative path outlives the loading.
    return Path.cwd() / path.expanduser()


def _absolute_vocabulary(name: str) -> str:
    return name if name == "scenes" else str(_absolute(Path(name)))


def _absolute_file(name: str) -> str:
    # An empty name is refused as such.
    return str(_absolute(Path(name))) if name else name


def _absolute_protocol(name: str) -> str:
    return str(_absolute(Path(name))) if Path(name).suffix in (".yaml", ".yml") else name


def is_published(checkpoint: Path) -> bool:
    """Whether `checkpoint` is by its name a published file, which brings no words; else it is a folder of ours."""
    return checkpoint.suffix in (".pth", ".pt", ".safetensors")


def unique(values: list[Any]) -> list[Any]:
    """Validator of lists that name each value once."""
    if len(set(values)) < len(values):
        raise refuse("", "names a value twice; remove one")
    return values


def _expand_preset(written: Any) -> Any:
    """`{preset: small, patch_size: 4}` becomes all sizes of the network."""
    choices = [*PRESETS, "custom"]
    if isinstance(written, AlbefConfig) or not isinstance(written, dict):
        return written
    if "preset_name" in written:
        raise refuse("preset_name", "no such field; did you mean preset?")
    if "preset" not in written:
        raise refuse("preset", f"missing; choose {either(choices)} (custom: write every size)")
    overrides: dict[str, Any] = {**written}
    preset = overrides.pop("preset")
    if preset not in choices:
        raise refuse("preset", f"'{preset}' is not a preset; {hint(str(preset), choices)}")
    for section, path in (("vision", "weights"), ("text", "transformers")):
        if isinstance(fields := overrides.get(section), dict) and isinstance(fields.get(path), str):
            overrides[section] = {**fields, path: _absolute_file(fields[path])}
    return {**PRESETS.get(preset, {}), **overrides, "preset_name": preset}


def _fold_preset(config: AlbefConfig) -> dict[str, Any]:
    sizes = config.model_dump(mode="json")
    return {"preset": sizes.pop("preset_name"), **sizes}


AbsolutePath = Annotated[Path, Field(strict=False), BeforeValidator(_named), AfterValidator(_absolute)]
Checkpoint = Annotated[Path, Field(strict=False), BeforeValidator(_named), AfterValidator(_checkpoint)]
ModelSpec = Annotated[AlbefConfig, BeforeValidator(_expand_preset), PlainSerializer(_fold_preset)]
Vocabulary = Annotated[str, BeforeValidator(_named), AfterValidator(_absolute_vocabulary)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Word = Annotated[str, Field(min_length=1)]
ProtocolName = Annotated[Word, AfterValidator(_absolute_protocol)]
Words = Annotated[list[Word], Field(min_length=1), AfterValidator(unique)]
