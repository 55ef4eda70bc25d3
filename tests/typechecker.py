"""What checks signatures while tests run; pyproject.toml names it to jaxtyping."""

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype

checked = beartype(
    conf=BeartypeConf(
        # jaxtyping hands over one method at a time, and a method alone does not tell what its class is.
        hint_overrides=FrozenDict({Self: object}),
        # An int is welcome where a float is asked for, as it is to basedpyright.
        is_pep484_tower=True,
    )
)
