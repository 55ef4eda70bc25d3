"""The rows of a grounding table one after the other, of which memory holds a row group at a time."""

from collections.abc import Iterator

import pyarrow as pa

from amc_models.errors import InputError
from amc_platform.data import parquet
from amc_platform.data.places import Address
from amc_platform.data.rows import ImageRow
from amc_platform.data.table import parts


def stream_rows(path: Address) -> Iterator[ImageRow]:
    """Every row that has a phrase. Raises InputError where a part is missing or damaged."""
    texts: dict[str, str] = {}
    for part in parts(path):
        with parquet.open_table(part) as file:
            for group in range(file.num_row_groups):
                try:
                    yield from parquet.read_group(file, group, None, None, texts)
                except (pa.ArrowException, OSError) as error:
                    reason = str(error).splitlines()[0].rstrip(".")
                    raise InputError(
                        f"{part}: row group {group} is damaged ({reason}); prepare it again"
                    ) from error
