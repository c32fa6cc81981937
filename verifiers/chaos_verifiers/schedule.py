"""When messages were due, from samples of their records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch

_SAMPLES = 1000
"""Of a batch; of one with fewer rows, every row is kept."""


class DueTimes:
    """Rows of sequence and due time by producer; both go up evenly, so a sample is enough."""

    def __init__(self) -> None:
        self._samples: dict[int, list[NDArray[np.int64]]] = {}

    @property
    def producers(self) -> list[int]:
        """Those of which there are records."""
        return list(self._samples)

    def add(self, batch: Batch) -> None:
        """Take in a batch of sends."""
        some = slice(None, None, 1 + len(batch) // _SAMPLES)
        rows = np.column_stack([batch["sequence"][some], batch["due_ns"][some]])
        self._samples.setdefault(batch.producer, []).append(rows)

    def merge(self, other: DueTimes) -> None:
        """Take in all of another."""
        for producer, samples in other._samples.items():
            self._samples.setdefault(producer, []).extend(samples)

    def before(self, producer: int, time_ns: int) -> int:
        """How many messages of a producer were due before a time.

        At most one too few where the time lies between two samples, never one too many.
        """
        known = np.concatenate(self._samples[producer])
        known = known[np.unique(known[:, 0], return_index=True)[1]]
        place = int(np.searchsorted(known[:, 1], time_ns))
        if place == 0:
            return 0
        sequence, due_ns = known[place - 1].tolist()
        if place == len(known):
            return int(sequence) + 1
        steps, span_ns = (known[place] - known[place - 1]).tolist()
        # Due times are cut to whole ns, so 2 ns less: better one too few than one that was not due.
        between = max(0, time_ns - 2 - due_ns) * steps // span_ns
        return int(sequence + 1 + between)
