"""Figures by due time in buckets of 100 ms, for questions about a part of a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Column

BUCKET_NS = 100_000_000


def split(due_ns: Column) -> tuple[int, NDArray[np.int64], int]:
    """The first bucket; for each message, how many buckets later it is due; how many there are."""
    bucket = due_ns // BUCKET_NS
    first = int(bucket.min())
    return first, bucket - first, int(bucket.max()) - first + 1


def merge(
    a: dict[int, int], first: int, values: NDArray[np.int64], how: Callable[[int, int], int]
) -> None:
    """Take the values of consecutive buckets into `a`; zeros are left out."""
    for place in np.flatnonzero(values).tolist():
        value = int(values[place])
        a[first + place] = how(a[first + place], value) if first + place in a else value


def between(a: dict[int, int], from_ns: int, until_ns: int) -> list[int]:
    """The values of the buckets that lie wholly between two times."""
    low, high = -(-from_ns // BUCKET_NS), until_ns // BUCKET_NS
    return [value for bucket, value in a.items() if low <= bucket < high]
