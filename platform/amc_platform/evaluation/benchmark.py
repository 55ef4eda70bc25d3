"""What evaluation costs: the plain way of the published code beside ours, on the same photographs and phrases.

Equal numbers first, then both in turns in one process: the ratio of a round holds whatever else the machine does.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from amc_models.albef import Albef
from amc_models.benchmarks.meters import hardware, timed
from amc_models.benchmarks.reference_heatmaps import reference_heatmaps
from amc_models.config import AlbefConfig
from amc_models.gradcam import heatmaps
from amc_models.tokenizer import SPECIAL_TOKENS, Tokenizer
from amc_platform.data.benchmark import photographs
from amc_platform.data.boxes import Box
from amc_platform.data.rows import ImageRow, Phrase
from amc_platform.evaluation.evaluator import evaluate
from amc_platform.evaluation.network import image_loader
from amc_platform.evaluation.pointing import upsampled
from amc_platform.evaluation.protocol import Protocol

TOLERANCE = 1e-5
"""Largest deviation of a heatmap, as a share of its maximum."""
ROUNDS = 3
GOALS = {("base", 256, 1): (3, None), ("base", 256, 14): (25, 15), ("base", 384, 7): (20, 12)}
"""Wanted ratios, of the network alone and end to end, by size, resolution and phrases an image."""
WORDS = (
    "a",
    "the",
    "two",
    "man",
    "dog",
    "red",
    "blue",
    "small",
    "left",
    "right",
    "shirt",
    "table",
    "in",
    "on",
    "with",
)
LENGTHS = (1, 2, 2, 2, 3, 3, 3, 4, 5, 6)
"""Words of a phrase, one as likely as the other."""

Point = tuple[float, float]


class Watched:
    """Heatmaps of a network, kept, with the time they took."""

    def __init__(self, of: Callable[..., Tensor], model: Albef) -> None:
        self.of, self.model = of, model
        self.maps: list[Tensor] = []
        self.seconds = 0.0

    def __call__(
        self, images: Float[Tensor, "images 3 height width"], texts: list[list[str]]
    ) -> Float[Tensor, "pairs grid_h grid_w"]:
        """The heatmaps of the phrases of each image."""
        lap = timed(lambda: self.maps.append(self.of(self.model, images, texts)), images.device)
        self.seconds += lap.device_s
        return self.maps[-1]


@dataclass(frozen=True)
class Run:
    """One way over all rows."""

    maps: Float[Tensor, "pairs grid_h grid_w"]
    points: list[Point]
    network_s: float
    total_s: float
    """With decoding, resizing, upsampling and arg-max."""


@dataclass(frozen=True)
class EvaluationBenchmark:
    """What is measured; `image_size` None: the preset's own."""

    size: Literal["base", "small"] = "base"
    image_size: int | None = None
    phrases: int = 1
    images: int = 2

    def run(self, report: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
        """Everything measured, ready for JSON; no times where the numbers differ. `report`: rounds done, of all."""
        model, rows = self._model(), self._rows()
        how = "opencv_bilinear" if model.config.image_size <= 256 else "pil_bicubic"
        protocol = Protocol(name="bench", resolution=model.config.image_size, resize=how)
        plain, fast = (way(model, rows, protocol) for way in (plain_way, fast_way))
        report(1, ROUNDS + 1)
        result = asdict(self) | {"image_size": model.config.image_size, "torch": torch.__version__}
        result |= {"hardware": hardware(model.temp.device)} | differences(plain, fast, rows)
        if not result["equal"]:
            return result
        rounds: list[tuple[Run, Run]] = []
        for number in range(ROUNDS):
            rounds.append((plain_way(model, rows, protocol), fast_way(model, rows, protocol)))
            report(number + 2, ROUNDS + 1)
        network, whole = GOALS.get((self.size, model.config.image_size, self.phrases), (None, None))
        result["network"] = self._compared([(p.network_s, f.network_s) for p, f in rounds], network)
        result["end_to_end"] = self._compared([(p.total_s, f.total_s) for p, f in rounds], whole)
        return result

    def _compared(self, rounds: Sequence[tuple[float, float]], goal: float | None) -> dict[str, Any]:
        """Medians over rounds: seconds an image of both ways, and their ratio."""
        return {
            "plain_s": median(plain for plain, _ in rounds) / self.images,
            "fast_s": median(fast for _, fast in rounds) / self.images,
            "ratio": median(plain / fast for plain, fast in rounds),
            "goal": goal,
        }

    def _model(self) -> Albef:
        """Random weights of seed 0; how fast they are does not depend on what they have learnt."""
        torch.manual_seed(0)
        config = AlbefConfig.preset(self.size, queue_size=64)
        config = config.at(self.image_size or config.image_size)
        fill = config.vocabulary_size - len(SPECIAL_TOKENS) - len(WORDS)
        tokenizer = Tokenizer.of_words([*WORDS, *(f"unused{number}" for number in range(fill))])
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Albef(config, tokenizer).to(device).eval()

    def _rows(self) -> list[ImageRow]:
        """Photographs with phrases of 1 to 6 words, 3.1 on average."""
        choice = random.Random(0)
        box = (Box(100, 100, 300, 300),)
        return [
            replace(
                row,
                phrases=tuple(
                    Phrase(" ".join(choice.choices(WORDS, k=choice.choice(LENGTHS))), box, "", "", "", False)
                    for _ in range(self.phrases)
                ),
            )
            for row in photographs(self.images)
        ]


def plain_way(model: Albef, rows: Sequence[ImageRow], protocol: Protocol) -> Run:
    """As published: a pair decodes, encodes and upsamples for itself, and all of the map is looked through."""
    load, network = image_loader(model, protocol), Watched(reference_heatmaps, model)
    pairs = [(row, phrase.text) for row in rows for phrase in row.phrases]
    points: list[Point] = []

    def whole() -> None:
        maps = network(torch.stack([load(row) for row, _ in pairs]), [[text] for _, text in pairs])
        for (row, _), heatmap in zip(pairs, maps, strict=True):
            place = int(upsampled(heatmap[None], row.width, row.height).argmax())
            points.append((place % row.width, place // row.width))

    lap = timed(whole, model.temp.device)
    return Run(torch.cat(network.maps), points, network.seconds, lap.device_s)


def fast_way(model: Albef, rows: Sequence[ImageRow], protocol: Protocol) -> Run:
    """As `amc evaluate` does it."""
    load, network = image_loader(model, protocol), Watched(heatmaps, model)
    points: list[Point] = []

    def whole() -> None:
        points.extend(hit.point or (-1, -1) for hit in evaluate(network, rows, protocol, load))

    lap = timed(whole, model.temp.device)
    return Run(torch.cat(network.maps), points, network.seconds, lap.device_s)


def differences(plain: Run, fast: Run, rows: Sequence[ImageRow]) -> dict[str, Any]:
    """How far the maps are apart, and how many points are the same.

    Two points count as one where the plain way's own pixels there differ by less than the maps may: which of them is
    larger is then a matter of rounding.
    """
    deviation = (plain.maps - fast.maps).abs().flatten(1).amax(1) / plain.maps.abs().flatten(1).amax(1)
    sizes = [(row.width, row.height) for row in rows for _ in row.phrases]
    same, rounding = 0, 0
    for heatmap, one, two, (width, height) in zip(plain.maps, plain.points, fast.points, sizes, strict=True):
        if one == two:
            same += 1
            continue
        pixels = upsampled(heatmap[None], width, height)[0]
        first, second = (float(pixels[int(y), int(x)]) for x, y in (one, two))
        rounding += first - second <= TOLERANCE * float(heatmap.abs().max())
    largest = float(deviation.max())
    return {
        "deviation": largest,
        "tolerance": TOLERANCE,
        "points": len(plain.points),
        "points_equal": same,
        "points_within_rounding": rounding,
        "equal": largest <= TOLERANCE and same + rounding == len(plain.points),
    }
