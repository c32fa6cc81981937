"""What the replicas of a partition hold, compared position by position: the state of divergence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, PartitionEnd
from chaos_verifiers import records
from chaos_verifiers.records import Messages, Table

Interval = tuple[int, int]
"""Offsets [from, to)."""


@dataclass
class Pieces:
    """What nodes hold. `marks` has, by partition and first offset, a mark of the piece that the
    first node showed there; `differs` the partitions and offsets at which another showed another
    one. `began` is where a node's part of a partition began, `following` the offset behind what it
    showed so far, `holes` what it passed over."""

    marks: Messages = field(default_factory=lambda: Messages(np.uint32))
    differs: Table = field(default_factory=lambda: Table(2))
    began: dict[tuple[str, int], int] = field(default_factory=dict)
    following: dict[tuple[str, int], int] = field(default_factory=dict)
    holes: dict[tuple[str, int], list[Interval]] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Take in what one node holds, in the order of its offsets."""
        offset, last, partition = batch["offset"], batch["last"], batch["partition"]
        # Odd factors keep any two digests below 2**32 apart, and any two lengths.
        mark = batch["digest"] * 2_654_435_761 + (last - offset) * 40_503 + 1
        for (number, page), rows, places in records.by_page(partition, offset):
            self._compare((number, page), places, np.maximum(mark[rows].astype(np.uint32), 1))
        if len(batch):
            lots = records.by_partition(batch)
            for number, mine in lots:
                rows = lots.rows[mine]
                self._follow((batch.client, number), offset[rows], last[rows])

    def _compare(
        self, key: records.Page, places: NDArray[np.int64], marks: NDArray[np.uint32]
    ) -> None:
        page = self.marks.page(key)
        free = page[places] == 0
        page[places[free]] = marks[free]
        differs = page[places] != marks
        self.differs.add(key[0], places[differs] + (key[1] << records.PAGE_BITS))

    def _follow(
        self, held: tuple[str, int], offset: NDArray[np.int64], last: NDArray[np.int64]
    ) -> None:
        self.began.setdefault(held, int(offset[0]))
        expected = np.append(self.following.get(held, offset[0]), last[:-1] + 1)
        for index in np.flatnonzero(offset > expected).tolist():
            hole = int(expected[index]), int(offset[index])
            self.holes.setdefault(held, []).append(hole)
        self.following[held] = int(last[-1]) + 1

    def merge(self, other: Pieces) -> None:
        """Take in all of another, which saw other nodes."""
        for key, theirs in other.marks.pages.items():
            places = np.flatnonzero(theirs)
            self._compare(key, places, theirs[places])
        self.differs.extend(other.differs)
        self.began |= other.began
        self.following |= other.following
        self.holes |= other.holes

    def differing(self, ranges: Mapping[int, Interval]) -> NDArray[np.int64]:
        """Partition and offset of the pieces in `ranges` (by partition) that are not the same."""
        rows = self.differs.rows()
        low, high = (
            np.array([ranges.get(number, (0, 0))[side] for number in rows[:, 0].tolist()], np.int64)
            for side in (0, 1)
        )
        inside: NDArray[np.int64] = rows[(rows[:, 1] >= low) & (rows[:, 1] < high)]
        return inside

    def lacking(
        self, ranges: Mapping[int, Interval], nodes: Mapping[int, Sequence[str]]
    ) -> list[tuple[int, Interval, tuple[str, ...]]]:
        """Partition, offsets and nodes: what these nodes lack and others hold."""
        found = []
        for partition, within in ranges.items():
            holes = {
                node: _cut(self._holes(node, partition, within), within)
                for node in nodes[partition]
            }
            edges = sorted({edge for some in holes.values() for hole in some for edge in hole})
            for start, end in pairwise(edges):
                missing = tuple(
                    node for node, some in holes.items()
                    if any(low <= start and end <= high for low, high in some)
                )  # fmt: skip
                if missing and len(missing) < len(holes):
                    found.append((partition, (start, end), missing))
        return found

    def _holes(self, node: str, partition: int, within: Interval) -> list[Interval]:
        head = within[0], self.began.get((node, partition), within[1])
        return [head, *self.holes.get((node, partition), ())]


def _cut(holes: Iterable[Interval], within: Interval) -> list[Interval]:
    cut = [(max(low, within[0]), min(high, within[1])) for low, high in holes]
    return [(low, high) for low, high in cut if low < high]


def common(
    replicas: Mapping[str, Mapping[int, PartitionEnd]],
) -> tuple[dict[int, Interval], dict[int, list[str]]]:
    """By partition, the offsets that two replicas or more were read of, and which nodes these are.

    Retention may have cut off the beginning of one earlier than that of another.
    """
    nodes: dict[int, list[str]] = {}
    for node, ends in sorted(replicas.items()):
        for partition in ends:
            nodes.setdefault(partition, []).append(node)
    nodes = {number: some for number, some in sorted(nodes.items()) if len(some) > 1}
    ranges = {}
    for number, some in nodes.items():
        ends_ = [replicas[node][number] for node in some]
        ranges[number] = max(end.first for end in ends_), min(end.read for end in ends_)
    return ranges, nodes
