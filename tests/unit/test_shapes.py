"""Who does not see whom in a partition."""

from __future__ import annotations

import pytest

from chaos.errors import FaultError
from chaos_adapters.faults.shapes import bridge, halves, majority_ring, parted


@pytest.mark.parametrize("many", range(4, 12))
def test_in_a_ring_each_sees_a_majority_and_no_two_the_same(many: int) -> None:
    """That is what it is for."""
    order = [f"n{number}" for number in range(many)]
    unseen = set(majority_ring(order))
    sights = [
        frozenset(b for b in order if (a, b) not in unseen and (b, a) not in unseen) for a in order
    ]
    assert all(len(sight) > many / 2 for sight in sights)
    assert len(set(sights)) == many
    assert all(len(sight) < many for sight in sights)


def test_too_few_nodes_are_told() -> None:
    """Everybody would see everybody, or nobody would be between."""
    with pytest.raises(FaultError, match="4 at least"):
        majority_ring(["a", "b", "c"])
    with pytest.raises(FaultError, match="3 nodes, not 2"):
        bridge(["a", "b"])


@pytest.mark.parametrize("many", range(3, 8))
def test_in_a_bridge_one_sees_all_and_every_other_only_its_side(many: int) -> None:
    """No way leads from one side to the other but over it."""
    order = [f"n{number}" for number in range(many)]
    unseen = bridge(order)
    touched = {name for pair in unseen for name in pair}
    assert len(set(order) - touched) == 1
    assert len(unseen) == len({a for a, _ in unseen}) * len({b for _, b in unseen})


def test_halves_and_groups() -> None:
    """The smaller half first; groups see only themselves."""
    assert halves(["a", "b", "c"]) == (["a"], ["b", "c"])
    assert parted([["a"], ["b", "c"], ["d"]]) == [
        ("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d"),
    ]  # fmt: skip
