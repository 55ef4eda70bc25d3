"""Phrases that several rows were scored on, and what is counted over them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from amc_models.errors import InputError
from amc_platform.evaluation.groups import GroupsOf, by_image, images_of, membership
from amc_platform.evaluation.hits import Hit


class ScoredPhrases:
    """The phrases of a split with their groups and images; every row of a table is counted over the same ones."""

    def __init__(self, hits: Sequence[Hit], groups_of: GroupsOf) -> None:
        self._keys = [_key(hit) for hit in hits]
        self.groups: list[str]
        self.member: Bool[np.ndarray, "phrases groups"]
        self.groups, self.member = membership(hits, groups_of)
        """Names of the groups, and which phrase is in which."""
        self._images: Int[np.ndarray, " phrases"] = images_of(hits)
        self.counts: Float[np.ndarray, "images groups"] = by_image(self.member, self._images)
        """How many phrases of a group an image has."""

    def __len__(self) -> int:
        return len(self._keys)

    def outcomes(self, hits: Sequence[Hit]) -> Bool[np.ndarray, " phrases"]:
        """Which phrases `hits` has hit, in this order. Raises InputError where it was scored on others."""
        found = {_key(hit): hit.hit for hit in hits}
        try:
            outcomes = [found[key] for key in self._keys]
        except KeyError as error:
            raise InputError(
                f"compare: phrase {error.args[0]} was scored in one row only; evaluate both on the same table"
            ) from None
        if len(found) != len(self):
            raise InputError(
                f"compare: {len(found)} phrases against {len(self)}; evaluate both on the same table"
            )
        return np.array(outcomes, dtype=bool)

    def by_image(
        self, values: Bool[np.ndarray, "seeds phrases"] | Float[np.ndarray, "seeds phrases"]
    ) -> Float[np.ndarray, "seeds images groups"]:
        """Sums of hits, or of differences of hits, over the phrases of each image and group."""
        return np.stack([by_image(of_seed[:, None] * self.member, self._images) for of_seed in values])


def _key(hit: Hit) -> tuple[str, int, str]:
    return hit.image_id, hit.phrase_index, hit.text
