"""The shapes that a partition may have: who does not see whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from chaos.errors import FaultError
from chaos.spi import Way

LEAST_RING, LEAST_BRIDGE = 4, 3


def halves(order: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The smaller one first."""
    return order[: len(order) // 2], order[len(order) // 2 :]


def bridge(order: Sequence[str]) -> list[Way]:
    """Two halves and a node between them that sees all. Raises FaultError for less than three."""
    if len(order) < LEAST_BRIDGE:
        raise FaultError(f"a bridge needs {LEAST_BRIDGE} nodes, not {len(order)}")
    middle = (len(order) - 1) // 2
    return list(product(order[:middle], order[middle + 1 :]))


def majority_ring(order: Sequence[str]) -> list[Way]:
    """Each node sees its neighbours in the ring only, just as many as make a majority with it.
    Raises FaultError for less than four, where everybody is a neighbour."""
    many = len(order)
    if many < LEAST_RING:
        raise FaultError(f"in a ring of {many} everybody sees everybody: {LEAST_RING} at least")
    near = (many // 2 + 1) // 2  # on each side
    return [
        (order[a], order[b])
        for a, b in combinations(range(many), 2)
        if min(b - a, many - b + a) > near
    ]


def parted(groups: Sequence[Sequence[str]]) -> list[Way]:
    """Everybody from all who are in another group."""
    return [pair for one, other in combinations(groups, 2) for pair in product(one, other)]
