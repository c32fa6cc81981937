"""Times without service, by client and partition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch
from chaos_verifiers import records

SMALLEST_NS = 50_000_000
"""Shorter gaps are normal batching; they are not kept."""

Pair = tuple[str, int]
"""(client, partition)."""

Spans = NDArray[np.int64]
"""Intervals in order of time, shape (n, 2): start and end in ns."""

NO_SPANS: Spans = np.empty((0, 2), np.int64)


@dataclass
class Track:
    """When one client was served by one partition first and last, and the gaps between."""

    first_ns: int
    last_ns: int
    gaps: list[Spans] = field(default_factory=list)

    def spans(self, until_ns: int) -> Spans:
        """The gaps, with what was still open at `until_ns`."""
        spans = np.concatenate([NO_SPANS, *self.gaps])
        if until_ns - self.last_ns < SMALLEST_NS:
            return spans
        return np.concatenate([spans, [[self.last_ns, until_ns]]])


Tracks = dict[Pair, Track]


def follow(tracks: Tracks, batch: Batch, time: str) -> None:
    """Take in when a client was served, in the order of its own record; `time` is the column."""
    if not len(batch):
        return
    for pair, piece in batch.once(f"tracks by {time}", lambda: list(_pieces(batch, time))):
        known = tracks.get(pair)
        tracks[pair] = _joined(known, piece) if known else piece


def _pieces(batch: Batch, time: str) -> Iterator[tuple[Pair, Track]]:
    lots = records.by_partition(batch)
    time_ns = batch[time][lots.rows]
    wide = time_ns[1:] - time_ns[:-1] >= SMALLEST_NS
    for number, mine in lots:
        before = np.flatnonzero(wide[mine.start : mine.stop - 1]) + mine.start
        spans = np.column_stack([time_ns[before], time_ns[before + 1]])
        first_ns, last_ns = int(time_ns[mine.start]), int(time_ns[mine.stop - 1])
        yield (batch.client, number), Track(first_ns, last_ns, [spans] if len(spans) else [])


def _joined(a: Track, b: Track) -> Track:
    """One track out of two that do not overlap in time."""
    if b.first_ns < a.first_ns:
        a, b = b, a
    between = []
    if b.first_ns - a.last_ns >= SMALLEST_NS:
        between = [np.array([[a.last_ns, b.first_ns]])]
    return Track(a.first_ns, max(a.last_ns, b.last_ns), [*a.gaps, *between, *b.gaps])


def merge(a: Tracks, b: Tracks) -> None:
    """Take `b` into `a`. One client's record is never split, so no pair is in both by rights."""
    for pair, track in b.items():
        a[pair] = _joined(a[pair], track) if pair in a else track


def together(tracks: Iterable[Track], from_ns: int, until_ns: int) -> Spans:
    """When none of them was served, between two times; all the time if there are none."""
    lists = []
    for track in tracks:
        spans = track.spans(until_ns)
        if track.first_ns - from_ns >= SMALLEST_NS:
            spans = np.concatenate([[[from_ns, track.first_ns]], spans])
        lists.append(spans)
    return common(lists) if lists else np.array([[from_ns, until_ns]])


def common(lists: Sequence[Spans]) -> Spans:
    """The times that lie in one span of each list."""
    if len(lists) == 1:
        return lists[0]
    times = np.concatenate([spans[:, side] for side in (1, 0) for spans in lists])
    steps = np.repeat([-1, 1], len(times) // 2)
    # Ends come before starts of the same instant: a service at that instant parts two gaps.
    order = np.argsort(times, kind="stable")
    depth = np.cumsum(steps[order])
    full = np.flatnonzero(depth == len(lists))
    spans: Spans = np.column_stack([times[order][full], times[order][full + 1]])
    return spans[spans[:, 1] - spans[:, 0] >= SMALLEST_NS]


def overlapping(spans: Spans, from_ns: int, until_ns: int) -> Spans:
    """The spans that have some time in common with [from_ns, until_ns)."""
    return spans[(spans[:, 1] > from_ns) & (spans[:, 0] < until_ns)]


def inside(spans: Spans, from_ns: int, until_ns: int) -> Spans:
    """The spans that lie wholly between the two times."""
    return spans[(spans[:, 0] >= from_ns) & (spans[:, 1] <= until_ns)]


def longer(spans: Spans, limit_s: float) -> Spans:
    """The spans that are longer than so many seconds."""
    return spans[(spans[:, 1] - spans[:, 0]) / 1e9 > limit_s]


def pairs(spans: Spans) -> Iterator[tuple[int, int]]:
    """Start and end of each."""
    yield from spans.tolist()


def longest(spans: Spans) -> tuple[int, int]:
    """Start and end of the longest span, the first of several; (0, 0) without one."""
    if not len(spans):
        return 0, 0
    start, end = spans[np.argmax(spans[:, 1] - spans[:, 0])].tolist()
    return start, end


def length_ns(spans: Spans) -> int:
    """How long the longest span is; 0 without one."""
    start, end = longest(spans)
    return end - start


def by_partition(tracks: Mapping[Pair, Track]) -> dict[int, list[Track]]:
    """The tracks of all clients of each partition."""
    found: dict[int, list[Track]] = {}
    for (_, partition), track in sorted(tracks.items()):
        found.setdefault(partition, []).append(track)
    return found


def by_client(tracks: Mapping[Pair, Track]) -> dict[str, list[Track]]:
    """The tracks of all partitions of each client."""
    found: dict[str, list[Track]] = {}
    for (client, _), track in sorted(tracks.items()):
        found.setdefault(client, []).append(track)
    return found
