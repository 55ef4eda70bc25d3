"""What the losses of a batch have in common: its encodings."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from amc_models.attention import KeysValues


@dataclass(frozen=True)
class Encoded:
    """Encodings of a batch by the online or the momentum network, shared by all objectives."""

    keys_values: list[KeysValues]
    """Cross-attention keys and values a fusion layer, once an image."""
    text: Float[Tensor, "pairs length width"]
    masked_text: Float[Tensor, "pairs length width"]
    """With words hidden for MLM; without MLM the same as `text`."""
    features: tuple[Float[Tensor, "pairs embedding"], Float[Tensor, "pairs embedding"]]
    """Contrastive features of the image and of the text of each pair."""
