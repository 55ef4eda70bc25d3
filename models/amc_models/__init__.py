"""The science of AMC: the ALBEF network, its objectives and its GradCAM heatmaps. Knows no Ray and no MLflow."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amc_models.albef import Albef as Albef
    from amc_models.config import AlbefConfig as AlbefConfig
    from amc_models.errors import InputError as InputError
    from amc_models.gradcam import heatmaps as heatmaps
    from amc_models.keys import KeyReport as KeyReport
    from amc_models.published import export_published as export_published
    from amc_models.weights import inspect_checkpoint as inspect_checkpoint
    from amc_models.weights import load_checkpoint as load_checkpoint
    from amc_models.weights import save_checkpoint as save_checkpoint

# Resolved on first use: a spec is checked and a plan is printed without importing torch.
_HOME = {
    "Albef": "amc_models.albef",
    "AlbefConfig": "amc_models.config",
    "InputError": "amc_models.errors",
    "KeyReport": "amc_models.keys",
    "export_published": "amc_models.published",
    "heatmaps": "amc_models.gradcam",
    "inspect_checkpoint": "amc_models.weights",
    "load_checkpoint": "amc_models.weights",
    "save_checkpoint": "amc_models.weights",
}
__all__ = [
    "Albef",
    "AlbefConfig",
    "InputError",
    "KeyReport",
    "export_published",
    "heatmaps",
    "inspect_checkpoint",
    "load_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'amc_models' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)
