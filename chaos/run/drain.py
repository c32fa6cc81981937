"""When consumers have seen all that there is to see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaos.history.reader import streams
from chaos.load.workers import Crew
from chaos.run.watch import Watch
from chaos.spi import Outcome

_QUIET_S = 6.0
"""A backlog of nothing is believed when nothing came for so long: it may be told late."""
_LOOK_S = 0.5


def reached(crew: Crew, goal: Mapping[str, int]) -> Callable[[], bool]:
    """Whether consumers have come to the highest offset of each partition."""

    def over() -> bool:
        seen: dict[str, int] = {}
        for worker in crew.consumers:
            for partition, offset in worker.stats.get("highest", {}).items():
                seen[partition] = max(seen.get(partition, -1), offset)
        return all(seen.get(partition, -1) >= offset for partition, offset in goal.items())

    return over


class Emptied:
    """Whether everything that was acknowledged is on record as delivered, for streams that have no
    offsets to go by; or the queues are told to be empty, and stay so: then what is missing is gone.
    """

    def __init__(self, crew: Crew, directory: Path, watch: Watch) -> None:
        self._crew, self._directory, self._watch = crew, directory, watch
        self._received, self._quiet_since_s = -1, time.monotonic()
        self._acked: dict[int, NDArray[np.bool_]] | None = None
        self._looked_at, self._look_s = -1, 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        received = sum(worker.stats.get("received", 0) for worker in self._crew.consumers)
        if received != self._received:
            self._received, self._quiet_since_s = received, now
        if received != self._looked_at and now >= self._look_s:
            self._looked_at = received
            if not self._undelivered():
                return True
            self._look_s = time.monotonic() + _LOOK_S
        return now - self._quiet_since_s > _QUIET_S and self._watch.backlog == 0

    def _undelivered(self) -> int:
        """How many acknowledged messages nobody has on record."""
        if self._acked is None:
            self._acked = _marks(self._directory, "sends")
        came = _marks(self._directory, "deliveries")
        left = 0
        for producer, acked in self._acked.items():
            seen = came.get(producer, np.zeros(0, np.bool_))
            left += int(np.count_nonzero(acked))
            both = min(len(acked), len(seen))
            left -= int(np.count_nonzero(acked[:both] & seen[:both]))
        return left


def _marks(directory: Path, table: str) -> dict[int, NDArray[np.bool_]]:
    """By producer, a mark for each message that was acknowledged, or delivered intact."""
    found: dict[int, NDArray[np.bool_]] = {}
    for stream in streams(directory):
        if stream.table != table:
            continue
        for batch in stream.batches():
            good = batch["outcome"] == Outcome.OK if table == "sends" else batch["intact"]
            sequences = batch["sequence"][good]
            owners = batch["producer"][good] if table == "deliveries" else None
            for number in [batch.producer] if owners is None else np.unique(owners).tolist():
                _mark(found, number, sequences if owners is None else sequences[owners == number])
    return found


def _mark(found: dict[int, NDArray[np.bool_]], producer: int, sequences: NDArray[np.int64]) -> None:
    if not len(sequences):
        return
    marks, needed = found.get(producer, np.zeros(0, np.bool_)), int(sequences.max()) + 1
    if needed > len(marks):
        grown = np.zeros(2 * needed, np.bool_)
        grown[: len(marks)] = marks
        marks = found[producer] = grown
    marks[sequences] = True
