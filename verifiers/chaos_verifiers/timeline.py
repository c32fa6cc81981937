"""Figures by time in buckets of 100 ms, one row a bucket, for questions about how a run went on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Column
from chaos_verifiers.buckets import BUCKET_NS

_EMPTY = np.empty((0, 0), np.int64)


@dataclass
class Timeline:
    """`rows[i]` belongs to bucket `first + i`; what was never set is 0. Memory follows the length
    of the run, not its messages. `how` joins two figures: np.add or np.maximum."""

    how: np.ufunc
    first: int = 0
    rows: NDArray[np.int64] = field(default_factory=lambda: _EMPTY)

    def add(self, time_ns: Column, column: Column, values: Column | int = 1) -> None:
        """Take in a value at each time, for a column each."""
        if not len(time_ns):
            return
        bucket = time_ns // BUCKET_NS
        low, high = int(bucket.min()), int(bucket.max()) + 1
        width = int(column.max()) + 1
        piece = np.zeros((high - low) * width, np.int64)
        self.how.at(piece, (bucket - low) * width + column, values)
        self._take(low, piece.reshape(high - low, width))

    def merge(self, other: Timeline) -> None:
        """Take in all of another."""
        if len(other.rows):
            self._take(other.first, other.rows)

    def _take(self, low: int, piece: NDArray[np.int64]) -> None:
        if not len(self.rows):
            self.first = low
        first, end = min(low, self.first), max(low + len(piece), self.first + len(self.rows))
        width = max(piece.shape[1], self.rows.shape[1])
        if (end - first, width) != self.rows.shape or first != self.first:
            grown = np.zeros((end - first, width), np.int64)
            start = self.first - first
            grown[start : start + len(self.rows), : self.rows.shape[1]] = self.rows
            self.first, self.rows = first, grown
        part = self.rows[low - self.first : low - self.first + len(piece), : piece.shape[1]]
        self.how(part, piece, out=part)

    def between(self, low: int, high: int) -> NDArray[np.int64]:
        """The rows of buckets [low, high); zeros where nothing was recorded."""
        found = np.zeros((max(0, high - low), self.rows.shape[1]), np.int64)
        start, end = max(low, self.first), min(high, self.first + len(self.rows))
        if start < end:
            found[start - low : end - low] = self.rows[start - self.first : end - self.first]
        return found
