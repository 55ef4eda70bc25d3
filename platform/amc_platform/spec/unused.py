"""Options that the rest of a spec leaves without effect."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

from pydantic import BaseModel

from amc_platform.spec.schema import Experiment
from amc_platform.spec.values import is_published


class Unused(NamedTuple):
    """`option` has no effect while `because` is `value`."""

    option: str
    because: str
    value: str

    @property
    def problem(self) -> str:
        """What is wrong with the option, and the remedy."""
        return f"no effect while {self.because} is {self.value}; remove it or change that"


class _Rule(NamedTuple):
    options: tuple[str, ...]
    because: str
    switched_off: Callable[[Any], bool]


RULES = (
    _Rule(
        (
            "evaluation.validation_split",
            "evaluation.validation_images",
            "evaluation.filmstrip",
            "evaluation.keep_best",
            "training.early_stopping",
            "tracking.model",
        ),
        "evaluation.every",
        lambda v: v is None,
    ),
    _Rule(
        ("tracking.uri", "tracking.experiment", "tracking.model"), "tracking.kind", lambda v: v != "mlflow"
    ),
    _Rule(("tracking.upload",), "tracking.model", lambda v: v is None),
    _Rule(("tracking.model",), "evaluation.keep_best", lambda v: v is False),
    _Rule(("evaluation.filmstrip",), "evaluation.gallery", lambda v: v == 0),
    _Rule(
        ("objective.mask_probability", "objective.mask_words", "objective.distillation_axis"),
        "objective.mlm",
        lambda v: v == 0,
    ),
    _Rule(("training.steps_per_epoch", "training.epochs"), "training.schedule", lambda v: v == "cosine"),
    _Rule(("cluster.gradient_precision", "cluster.placement"), "cluster.workers", lambda v: v == 1),
    _Rule(("training.tf32",), "cluster.gpus_per_worker", lambda v: v == 0),
    _Rule(("objective.negatives",), "objective.itm", lambda v: v == 0),
    _Rule(("objective.same_image_negatives",), "data.phrases_per_image", lambda v: v == 1),
    # A checkpoint brings the weights of its encoders.
    _Rule(("model.vision.weights", "model.text"), "start_from", lambda v: v is not None),
    # A BERT brings its own words.
    _Rule(("vocabulary",), "model.text", lambda v: v is not None),
    # A checkpoint's folder brings its own.
    _Rule(("vocabulary",), "start_from", lambda v: v is not None and not is_published(v)),
    _Rule(
        ("objective.distillation_warmup_steps", "objective.distillation_axis"),
        "objective.distillation",
        lambda v: v == 0,
    ),
)


def unused_options(experiment: Experiment) -> list[Unused]:
    """The options that differ from their default although another field switches them off, once each."""
    unused: dict[str, Unused] = {}
    for rule in RULES:
        value = _at(experiment, rule.because)
        if rule.switched_off(value):
            for option in rule.options:
                if not _is_default(experiment, option):
                    found = Unused(option, rule.because, "null" if value is None else str(value))
                    unused.setdefault(option, found)
    return list(unused.values())


def _at(experiment: Experiment, path: str) -> Any:
    return reduce(getattr, path.split("."), experiment)


def _is_default(experiment: Experiment, path: str) -> bool:
    *sections, field = path.split(".")
    model: BaseModel | None = experiment
    for section in sections:
        model = getattr(model, section)
        if model is None:
            return True
    return getattr(model, field) == type(model).model_fields[field].default
