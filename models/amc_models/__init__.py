"""The science of AMC: the ALBEF network, its objectives and its GradCAM heatmaps. Knows no Ray and no MLflow."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amc_models.albef import Albef as Albef
    from amc_models.config import AlbefConfig as AlbefConfig
    from amc_models.errors import InputError as InputError
    from amc_models.gradcam import heatmaps as heatmaps
    from amc_models.weights import load_checkpoint as load_checkpoint
    from amc_models.weights import save_checkpoint as save_checkpoint

# Resolved on first use: a spec is checked and a plan is printed without importing torch.
_HOME = {
    "Albef": "amc_models.albef",
    "AlbefConfig": "amc_models.config",
    "InputError": "amc_models.errors",
    "heatmaps": "amc_models.gradcam",
    "load_checkpoint": "amc_models.weights",
    "save_checkpoint": "amc_models.weights",
}
__all__ = ["Albef", "AlbefConfig", "InputError", "heatmaps", "load_checkpoint", "save_checkpoint"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'amc_models' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)
