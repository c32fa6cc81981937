"""Messages that come one after the other: which of them come after a later one of their producer.

A line is what one client recorded of one producer and partition. Rows are compared within a line
only, so all that has to be remembered of it is how far it got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Column
from chaos_verifiers import records
from chaos_verifiers.records import Messages, Table

_HIGHEST = 1 << 39
"""No producer gets so far; what says so was made up, and says nothing of the others' order."""

Line = tuple[str, int, int]
"""(client, producer, partition)."""


@dataclass
class Lines:
    """`reached` is the highest offset and sequence of each line so far. `late` has the messages
    that came after a later one: producer, sequence, partition, offset and the highest sequence
    before it. `right` marks those that came before all later ones, at least once. `back` counts the
    rows that went back in offset: repeats, which say nothing of the order."""

    reached: dict[Line, tuple[int, int]] = field(default_factory=dict)
    late: Table = field(default_factory=lambda: Table(5))
    right: Messages = field(default_factory=lambda: Messages(np.bool_))
    back: int = 0

    def follow(self, batch: Batch) -> None:
        """Take in the next whole messages of a client."""
        batch = records.select(batch, batch["sequence"] < _HIGHEST)
        if not len(batch):
            return
        order, starts, lines = _by_line(batch)
        offset, sequence = batch["offset"][order], batch["sequence"][order]
        known = [self.reached.get(line, (-1, -1)) for line in lines]
        ends = np.append(starts[1:], len(order)) - 1
        if _all_go_up(offset, sequence, starts, known):
            tops = zip(offset[ends].tolist(), sequence[ends].tolist(), strict=True)
            self._mark(records.pages(batch))
        else:
            before_offset = _before(offset, starts, [place for place, _ in known])
            before = _before(sequence, starts, [number for _, number in known])
            fresh = (offset > before_offset) | (offset < 0)
            late = fresh & (sequence < before)
            self.back += len(fresh) - int(np.count_nonzero(fresh))
            rows = order[late]
            names = ("producer", "sequence", "partition", "offset")
            self.late.add(*(batch[name][rows] for name in names), before[late])
            right = fresh & ~late
            self._mark(records.by_page(batch["producer"][order[right]], sequence[right]))
            highest = np.maximum(before_offset, offset)[ends], np.maximum(before, sequence)[ends]
            tops = zip(*(some.tolist() for some in highest), strict=True)
        self.reached.update(zip(lines, tops, strict=True))

    def _mark(self, pages: Iterable[tuple[records.Page, records.Rows, Column]]) -> None:
        for key, _, places in pages:
            self.right.page(key)[places] = True

    def merge(self, other: Lines) -> None:
        """Take in all of another, which saw other clients."""
        self.reached.update(other.reached)
        self.late.extend(other.late)
        self.right.merge(other.right, np.bitwise_or)
        self.back += other.back

    def found(self, real: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> NDArray[np.int64]:
        """The late messages, each once, with the columns of `late`; rows of `late` that are not
        `real` are left out. A message that came in order, too, was repeated, not reordered."""
        rows = self.late.rows()
        rows = rows[real(rows)]
        rows = rows[~self.right.of(rows[:, 0], rows[:, 1])]
        first = np.ones(len(rows), np.bool_)
        first[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
        once: NDArray[np.int64] = rows[first]
        return once


def _by_line(batch: Batch) -> tuple[NDArray[np.intp], NDArray[np.intp], list[Line]]:
    """The rows of a batch line by line, where each line begins in that order, and the lines."""
    producer, partition = batch["producer"], batch["partition"]
    width = int(partition.max()) + 2
    lots = records.lots(producer.astype(np.int64) * width + partition + 1)
    lines = [(batch.client, each // width, each % width - 1) for each in lots.numbers]
    return lots.rows, np.array(lots.edges[:-1]), lines


def _all_go_up(
    offset: Column, sequence: Column, starts: Column, known: list[tuple[int, int]]
) -> bool:
    """Whether each row of a line has a higher offset and sequence than the one before it."""
    up = (offset[1:] > offset[:-1]) & (sequence[1:] > sequence[:-1])
    up[starts[1:] - 1] = True
    first = np.column_stack([offset[starts], sequence[starts]]) > np.array(known)
    return bool(up.all() and first.all())


def _before(values: Column, starts: Column, known: list[int]) -> NDArray[np.int64]:
    """The highest value before each row of its line, with those `known` before the first one;
    values are below 2**40."""
    # Each line is lifted above the one before it, so that one sweep serves them all.
    lift = np.repeat(np.arange(len(starts)) << 41, np.diff(starts, append=len(values)))
    before = np.empty(len(values), np.int64)
    before[1:] = values[:-1]
    before[starts] = known
    highest: NDArray[np.int64] = np.maximum.accumulate(before + lift) - lift
    return highest
