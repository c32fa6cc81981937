"""Times without service: finding, joining and intersecting them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chaos.spi import Batch
from chaos_verifiers import gaps
from chaos_verifiers.gaps import Spans, Track, Tracks

MS = 1_000_000
INTERVALS = st.lists(st.integers(1, 40), min_size=0, max_size=12)
"""Lengths that make spans, every second one a pause."""


def spans(*pairs: tuple[int, int]) -> Spans:
    """Spans, given in units of 100 ms."""
    return np.array(pairs, np.int64).reshape(-1, 2) * 100 * MS


def batch(partitions: list[int], done_ns: NDArray[np.int64]) -> Batch:
    """What one client was served."""
    columns = {"partition": np.array(partitions, np.int32), "done_ns": done_ns}
    return Batch("sends", "a", 0, columns)


def track(*times: int) -> Track:
    """When one client was served, in units of 100 ms."""
    tracks: Tracks = {}
    gaps.follow(tracks, batch([0] * len(times), np.array(times) * 100 * MS), "done_ns")
    return tracks["a", 0]


def test_gaps_of_each_partition() -> None:
    """Partitions mixed in one batch do not end each other's gaps."""
    tracks: Tracks = {}
    times = np.array([0, 1, 2, 9, 10, 30]) * 10 * MS
    gaps.follow(tracks, batch([0, 1, 0, 1, 0, 1], times), "done_ns")
    assert tracks["a", 0].spans(0).tolist() == [[20 * MS, 100 * MS]]
    assert tracks["a", 1].spans(0).tolist() == [[10 * MS, 90 * MS], [90 * MS, 300 * MS]]


def test_service_at_one_instant_parts_two_gaps() -> None:
    """A single acknowledgement in a long outage ends one gap and begins another."""
    assert gaps.common([spans((1, 5), (5, 9)), spans((0, 10))]).tolist() == [
        [100 * MS, 500 * MS], [500 * MS, 900 * MS],
    ]  # fmt: skip


def test_nobody_is_never_served() -> None:
    """Without any track the whole time is a gap."""
    assert gaps.together([], 3, 9).tolist() == [[3, 9]]


def test_edges() -> None:
    """The time before the first and after the last service counts as well."""
    found = gaps.together([track(3, 4)], 0, 900 * MS)
    assert found.tolist() == [
        [0, 300 * MS], [300 * MS, 400 * MS], [400 * MS, 900 * MS],
    ]  # fmt: skip


def test_pieces_of_one_record_join_in_any_order() -> None:
    """Which piece was seen first does not matter; the gap between them is found."""
    for first, second in (((0, 1), (5, 6)), ((5, 6), (0, 1))):
        a, b = {("a", 0): track(*first)}, {("a", 0): track(*second)}
        gaps.merge(a, b)
        assert a["a", 0].spans(0).tolist() == spans((0, 1), (1, 5), (5, 6)).tolist()


@given(lists=st.lists(INTERVALS, min_size=1, max_size=4))
def test_common_time_against_counting(lists: list[list[int]]) -> None:
    """The common time is the instants that lie in a span of each list, counted one by one."""
    ends = [np.cumsum(lengths) for lengths in lists]
    every = [
        spans(*((int(a), int(b)) for a, b in zip(e[::2], e[1::2], strict=False))) for e in ends
    ]
    expected = {
        instant
        for instant in range(500)
        if all(any(s <= instant * 100 * MS < e for s, e in one.tolist()) for one in every)
    }
    found = gaps.common(every) // (100 * MS)
    assert {i for start, end in found.tolist() for i in range(start, end)} == expected
