"""Every key of a checkpoint: where it goes in the network, or why it is refused."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amc_models.vision import interpolate_positions

Fate = Literal["loaded", "renamed", "interpolated", "tied", "not needed", "missing", "unknown", "unfit"]
"""What becomes of a key; `unfit` is of another shape or kind, or differs from what it is tied to."""

QUEUES = ("image_queue", "text_queue")
POINTERS = ("queue_ptr_img", "queue_ptr_txt")
ONE_POINTER = "queue_ptr"
"""ALBEF has one pointer for both queues, AMC has two."""

TIES = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
"""Published keys below a text encoder that repeat another one."""

POSITION_IDS = "bert.embeddings.position_ids"

_DDP_PREFIX = re.compile(r"^module\.")
_CUT_PREFIX = re.compile(r"^(text_encoder(?:_m)?)\.(embeddings|encoder)\.")
_MOMENTUM = re.compile(r"^(visual_encoder|vision_proj|text_encoder|text_proj)_m\.")


@dataclass(frozen=True)
class KeyFate:
    """What became of one key."""

    key: str
    """As the file spells it; one that is missing there, as the network does."""
    fate: Fate
    reason: str = ""
    explained: bool = True
    """False where the checkpoint must be refused."""


@dataclass(frozen=True)
class KeyReport:
    """The fate of every key of a checkpoint, and of every key of the network that it lacks."""

    keys: tuple[KeyFate, ...]

    @property
    def unexplained(self) -> list[KeyFate]:
        """Keys for which the checkpoint is refused."""
        return [key for key in self.keys if not key.explained]

    @property
    def problem(self) -> str:
        """What is wrong and the remedy in one line, or nothing."""
        wrong = self.unexplained
        if not wrong:
            return ""
        first = ", ".join(f"{key.key} ({key.fate}: {key.reason})" for key in wrong[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        remedy = "give an unchanged checkpoint, or the config of its network"
        return f"{len(wrong)} of {len(self.keys)} keys cannot be explained: {first}{more}; {remedy}"


def plain_name(key: str) -> str:
    """`key` by the network's name: without the `module.` of DDP, with the `bert.` that evaluation cuts."""
    return _CUT_PREFIX.sub(r"\1.bert.\2.", _DDP_PREFIX.sub("", key))


def is_momentum(name: str) -> bool:
    """Whether `name` belongs to a momentum copy."""
    return _MOMENTUM.match(name) is not None


def is_queue(name: str) -> bool:
    """Whether `name` is a queue of momentum features or its pointer."""
    return name in (*QUEUES, ONE_POINTER, *POINTERS)


def settle(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], KeyReport]:
    """The tensors of `state` by the names of `wanted`, a network's state dict, and the fate of every key.

    Position embeddings of another resolution are interpolated. One queue pointer becomes both, so that the oldest
    features leave first; the published AMC code starts at 0 instead. Queues of another size than the network's are
    not taken. Momentum copies, or queues, may be missing as a whole, and pointers may.
    """
    given = {plain_name(key): tensor for key, tensor in state.items()}
    queue_fate = _other_queue_size(given, wanted)
    ready: dict[str, Tensor] = {}
    fates: list[KeyFate] = []
    for key, tensor in state.items():
        name = plain_name(key)
        if queue_fate and is_queue(name):
            fates.append(KeyFate(key, "not needed", queue_fate))
        elif fate := _without_place(key, tensor, given):
            fates.append(fate)
        else:
            targets = POINTERS if name == ONE_POINTER else (name,)
            fate, tensor = _place(key, tensor, targets, wanted)
            if fate.explained and targets[0] in ready:
                fate = KeyFate(key, "unknown", f"a second {targets[0]}", explained=False)
            if fate.explained:
                ready.update(dict.fromkeys(targets, tensor))
            fates.append(fate)
    here = {*given, *ready}
    fates += [_missing(name, here) for name in wanted if name not in here]
    return ready, KeyReport(tuple(fates))


def _other_queue_size(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    for name in QUEUES:
        size = wanted[name].shape[1]
        if name in given and given[name].ndim == 2 and given[name].shape[1] != size:
            return f"queues of {given[name].shape[1]} features, not {size}, start anew"
    return ""


def _without_place(key: str, tensor: Tensor, given: Mapping[str, Tensor]) -> KeyFate | None:
    """The fate of a published key that has no place of its own in the network."""
    encoder, _, inner = plain_name(key).partition(".")
    if inner == POSITION_IDS:
        return KeyFate(key, "not needed", "counts up from 0")
    if inner not in TIES:
        return None
    source = f"{encoder}.{TIES[inner]}"
    if source in given and torch.equal(tensor, given[source]):
        return KeyFate(key, "tied", f"equal to {TIES[inner]}")
    return KeyFate(key, "unfit", f"must equal {source}, to which it is tied", explained=False)


def _place(
    key: str, tensor: Tensor, targets: tuple[str, ...], wanted: Mapping[str, Tensor]
) -> tuple[KeyFate, Tensor]:
    """The fate of a key with a place in the network, and its tensor as it is put there."""
    target = wanted.get(targets[0])
    if target is None:
        return KeyFate(key, "unknown", "no such key in the network", explained=False), tensor
    if targets[0].endswith(".pos_embed") and tensor.shape != target.shape:
        before, after = (math.isqrt(t.numel() // target.shape[2]) for t in (tensor, target))
        if before and tensor.shape == (1, 1 + before**2, target.shape[2]):
            reason = f"from {before} x {before} to {after} x {after} patches"
            return KeyFate(key, "interpolated", reason), interpolate_positions(tensor.float(), after)
    if tensor.shape != target.shape or tensor.is_floating_point() != target.is_floating_point():
        reason = f"{_kind(tensor)}, not {_kind(target)}"
        return KeyFate(key, "unfit", reason, explained=False), tensor
    if key in targets:
        return KeyFate(key, "loaded"), tensor
    if targets == POINTERS:
        return KeyFate(key, "renamed", f"is {' and '.join(POINTERS)} here"), tensor
    return KeyFate(key, "renamed", "without module." if _DDP_PREFIX.match(key) else "with bert."), tensor


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _missing(name: str, here: set[str]) -> KeyFate:
    if name in POINTERS:
        return KeyFate(name, "missing", "starts at 0")
    if name in QUEUES and here.isdisjoint(QUEUES):
        return KeyFate(name, "missing", "starts with random unit vectors")
    if is_momentum(name) and not any(map(is_momentum, here)):
        return KeyFate(name, "missing", "starts equal to the weights")
    return KeyFate(name, "missing", "the network needs it", explained=False)
