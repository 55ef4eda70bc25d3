"""Recorded captions, clamped boxes and augmented images of the published code beside ours."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from amc_models.benchmarks.verdict import Verdict, compare, equal
from amc_models.tokenizer import clean_caption
from amc_platform.data.boxes import Box, clamp
from amc_platform.data.published_augment import (
    jitter,
    normalise_published,
    resize_mask_published,
    resize_published,
    to_gray,
)


def text_and_box_verdicts(facts: dict[str, Any]) -> Iterator[Verdict]:
    """`pre_caption` and `box_clamp` of `eval_cases.json`: equal or missed."""
    for index, case in enumerate(facts.get("pre_caption", [])):
        got = clean_caption(case["text"], case["max_words"])
        yield equal("pre_caption", str(index), got, case["out"])
    for index, case in enumerate(facts.get("box_clamp", [])):
        got = list(clamp(Box(*case["box"]), case["w"], case["h"]))
        yield equal("box_clamp", str(index), got, [float(edge) for edge in case["out"]])


def augment_verdicts(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Iterator[Verdict]:
    """Resized, gray, jittered and normalised images of `augment.json`: bytes equal, floats within float32."""
    images = {name: tensor.numpy() for name, tensor in tensors.items()}
    for case in facts["cases"]:
        prefix = f"{case['i']}_"
        size = images[f"{prefix}resized"].shape[0]
        factors = {name: case[name] for name in ("brightness", "contrast", "saturation", "hue")}
        resized = resize_published(images[f"{prefix}img"], size)
        gray, jittered = to_gray(resized), jitter(resized, **factors)
        computed = {
            "resized": resized,
            "mask_resized": resize_mask_published(images[f"{prefix}mask"], size),
            "gray": gray,
            "jitter": jittered,
            "gray_jitter": jitter(gray, **factors),
            "jitter_normalized": normalise_published(jittered),
        }
        for name in sorted(name for name in tensors if name.startswith(prefix)):
            kind = name.removeprefix(prefix)
            if kind not in ("img", "mask"):
                got = torch.from_numpy(computed[kind].copy()) if kind in computed else None
                yield compare("augment", name, got, tensors[name], 0.0)
