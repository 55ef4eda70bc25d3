"""How much memory a worker of a trial needs, counted without making a single number.

The network is built on torch's meta device, where tensors have shapes and no content, and the passes of a training step
run on it; what autograd would keep for the backward pass is added up. Counted are, a worker:

- weights, queues and momentum copies (float32), those once more where a step may be skipped (`training.on_nan`);
- gradients, AdamW's two moments (float32), and with several workers the buckets in which gradients travel;
- activations: image encoder, text layers, the fusion of positive pairs with their heatmap's second derivative, of two
  negatives a pair, and of masked texts with the vocabulary's logits; in bfloat16 half as much.

Not counted: what the allocator loses, kernels' workspace, CUDA itself (about 0.5 GiB) and batches in the loader. Texts
are taken as long as `data.max_tokens` allows, so that it is rather too much.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amc_models.objectives.config import NoAttentionMask
from amc_platform.search.cost import speed_key
from amc_platform.spec import Experiment

if TYPE_CHECKING:
    from torch import Tensor

    from amc_models.albef import Albef

_FLOAT32 = 4
_GIB = 2**30
_SAMPLE = 2
"""Images with which activations are counted; they are proportional to the number."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker."""

    trainable: int
    """Weights that are trained; a number, not bytes."""
    weights: int
    optimiser: int
    activations: int

    @property
    def gib(self) -> float:
        """All together."""
        return (self.weights + self.optimiser + self.activations) / _GIB


def memory_of(experiment: Experiment) -> Memory:
    """The memory of each worker of a trial. Imports torch."""
    import torch

    model = _meta_model(experiment)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    if experiment.training.on_nan == "skip":
        averages = [p for average, _ in model.momentum_pairs for p in average.parameters()]
        held += sum(p.numel() * p.element_size() for p in averages)
    optimiser = activations = 0
    if experiment.training.steps:
        # Gradient, first and second moment; and a second copy of the gradients in DDP's buckets.
        optimiser = (3 + (experiment.cluster.most > 1)) * _FLOAT32 * trainable
        images = experiment.data.images_per_batch // experiment.shares
        with torch.device("meta"):
            counted = _kept_by_a_step(model, experiment)
        activations = round(counted * images / _SAMPLE)
        if experiment.training.precision == "bf16":
            activations //= 2
    return Memory(trainable, held, optimiser, activations)


def _meta_model(experiment: Experiment) -> "Albef":
    import torch

    from amc_models.albef import Albef

    with torch.device("meta"):
        model = Albef(experiment.model).train()
    model.checkpoint_activations(experiment.training.activation_checkpointing)
    return model


def _kept_by_a_step(model: "Albef", experiment: Experiment) -> int:
    """Bytes kept for the backward pass by `_SAMPLE` images and their phrases: the passes of Objectives, one by one."""
    import torch

    from amc_models.gradcam import attention_gradient, heatmap, upsample
    from amc_models.objectives.attention_mask import attention_mask_loss

    config, objective = experiment.model, experiment.objective
    pairs = _SAMPLE * experiment.data.phrases_per_image
    length = min(experiment.data.max_tokens, config.max_positions)
    image_of_pair = torch.arange(_SAMPLE).repeat_interleave(experiment.data.phrases_per_image)
    ids, mask = torch.zeros(pairs, length, dtype=torch.long), torch.ones(pairs, length, dtype=torch.bool)
    # Negative images, negative texts and, behind them, texts with hidden words: one pass through the fusion layers.
    groups = 3 if objective.mlm else 2
    text = model.text_encoder
    with _counting(model) as kept:
        images, features = model.encode_image(torch.zeros(_SAMPLE, 3, config.image_size, config.image_size))
        keys_values = text.image_keys_values(images)
        encoded = model.encode_text(ids.repeat(groups - 1, 1), mask.repeat(groups - 1, 1))[0]
        hidden = encoded[:pairs]
        taps: list[Tensor] = []
        tap = None if isinstance(objective.amc, NoAttentionMask) else _keeping(taps)
        cls = torch.zeros(pairs, 1, dtype=torch.long)
        logits = model.match(text.fuse(hidden, mask, keys_values, tap=tap, rows=cls))
        if not isinstance(objective.amc, NoAttentionMask):
            gradient = attention_gradient(logits, taps[0], objective.amc.gradient, differentiable=True)
            maps = upsample(heatmap(taps[0], gradient, mask), config.mask_size)
            attention_mask_loss(maps, torch.ones_like(maps), objective.amc)
        layers = [[image.of(image_of_pair), *[image] * (groups - 1)] for image in keys_values]
        # The text with the most hidden words has about twice as many as others; the published bug wants every position.
        most = (
            length
            if objective.distillation_axis == "sequence"
            else round(2 * objective.mask_probability * length)
        )
        rows = torch.zeros(groups * pairs, min(most + 1, length) if objective.mlm else 1, dtype=torch.long)
        texts = torch.cat([hidden, encoded]) if objective.mlm else hidden.repeat(2, 1, 1)
        states = text.fuse(texts, mask.repeat(groups, 1), layers, rows=rows)
        model.match(states[: 2 * pairs])
        if objective.mlm:
            words = max(1, round(objective.mask_probability * ids.numel()))
            text.predict_words(states[2 * pairs :].flatten(0, 1)[:words]).log_softmax(-1)
        if objective.itc:
            # Logits against the queue, their softmax and its targets, in both directions.
            kept["queues"] = 6 * pairs * config.queue_size * features.element_size()
    return sum(kept.values())


def _keeping(taps: "list[Tensor]") -> "Callable[[Tensor], Tensor]":
    def tap(probabilities: "Tensor") -> "Tensor":
        taps.append(probabilities)
        return probabilities

    return tap


@contextmanager
def _counting(model: "Albef") -> "Iterator[dict[object, int]]":
    """Bytes of every storage that autograd keeps inside, those of the network left out."""
    import torch

    alive: list[Tensor] = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
    # Tensors without content have no address; the storage object tells them apart while it lives.
    own = {tensor.untyped_storage()._cdata for tensor in alive}  # pyright: ignore[reportPrivateUsage]
    kept: dict[object, int] = {}

    def pack(tensor: "Tensor") -> "Tensor":
        storage = tensor.untyped_storage()
        if storage._cdata not in own:  # pyright: ignore[reportPrivateUsage]
            kept[storage._cdata] = storage.nbytes()  # pyright: ignore[reportPrivateUsage]
            alive.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def gib_of(experiment: Experiment) -> float:
    """`memory_of(...).gib`, counted once for all trials of the same shape."""
    amc = experiment.objective.amc
    shape = (
        speed_key(experiment),
        experiment.model,
        experiment.objective.mask_probability,
        None if isinstance(amc, NoAttentionMask) else amc.gradient,
        experiment.training.steps > 0,
    )
    if shape not in _COUNTED:
        _COUNTED[shape] = memory_of(experiment).gib
    return _COUNTED[shape]


_COUNTED: dict[object, float] = {}
