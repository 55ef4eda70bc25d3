"""Gradients of a golden case, by the names they may be recorded under."""

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from amc_models.benchmarks.golden import GoldenCase

LOSSES = {
    "": "total", "ita": "itc", "itc": "itc", "itm": "itm", "mlm": "mlm", "amc": "amc", "total": "total",
    "mean": "mean", "max": "max",
}  # fmt: skip
"""Names of losses in gradient names (`grad_loss_ita.PARAMETER`), and ours."""


class Gradients:
    """Gradients by their recorded names: `grad[_LOSS].PARAMETER`, of the total where no loss is named."""

    def __init__(self, case: "GoldenCase") -> None:
        self.case = case
        self._of: dict[str, dict[str, Tensor]] = {}

    def of(self, name: str) -> Tensor | None:
        """The gradient a recorded name asks for; None where it names no parameter or no loss of the step."""
        parameters = dict(self.case.model.named_parameters()) | {"image": self.case.batch.images}
        aliases = {"text_encoder.cls.predictions.decoder.bias": "text_encoder.cls.predictions.bias"}
        if "grad" not in name:
            return None
        parts = re.split(r"[./:]", name.removesuffix(".grad"))
        for start in range(len(parts)):
            parameter = ".".join(parts[start:])
            parameter = aliases.get(parameter, parameter)
            if parameter in parameters:
                loss = re.sub(r"^grad(ient)?s?", "", "_".join(parts[:start])).strip("_").removeprefix("loss_")
                loss = LOSSES.get(loss.removeprefix("loss").strip("_"))
                return None if loss is None else self._gradients(loss).get(parameter)
        return None

    def _gradients(self, loss: str) -> dict[str, Tensor]:
        if loss not in self._of:
            case = self.case
            if loss in ("mean", "max"):
                case.restore()
                image, _ = case.model.encode_image(case.batch.images)
                text, _ = case.model.encode_text(case.batch.input_ids, case.batch.attention_mask)
                value = case.fusion(image, text)[f"loss_{loss}"]
            else:
                value = case.losses()[loss]
            named: dict[str, Tensor] = {n: p for n, p in case.model.named_parameters() if p.requires_grad}
            named["image"] = case.batch.images
            found = torch.autograd.grad(
                value, list(named.values()), allow_unused=True, materialize_grads=True
            )
            self._of[loss] = dict(zip(named, found, strict=True))
        return self._of[loss]
