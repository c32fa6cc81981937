"""Throughput and latency over time: one pass over a history, in memory that depends on the number
of buckets and not on that of messages.

Times are seconds from the axis' start. Latencies count from the due time of a message and stand at
that time, as an operator asks "what became of a message that was due at 12 s"; throughput stands
where it happened. Quantiles come from log-linear histograms (32 steps an octave, so they are right
to 1.6 %), maxima are exact.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaos.history.reader import Stream, streams
from chaos.spi import Batch, Column, Outcome

MOST_BUCKETS = 400
_WIDTHS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
_STEPS_LOG2 = 5
_LOWEST_LOG2 = 10
"""Latencies below 2**10 ns are one step."""
_OCTAVES = 34  # up to 2**44 ns, nearly five hours
BINS = (_OCTAVES << _STEPS_LOG2) + 1
QUANTILES = {"p50": 0.5, "p99": 0.99}

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """The time that plots cover: `count` buckets of `width_ns` from `start_ns` on."""

    start_ns: int
    width_ns: int
    count: int

    @classmethod
    def over(cls, start_ns: int, end_ns: int) -> Axis:
        """As many buckets as fit on a page, of a round width."""
        span_ns = max(end_ns - start_ns, 1)
        widths = [int(width_s * 1e9) for width_s in _WIDTHS_S]
        fitting = (width for width in widths if span_ns <= width * MOST_BUCKETS)
        width_ns = next(fitting, -(-span_ns // MOST_BUCKETS))
        return cls(start_ns, width_ns, max(2, -(-span_ns // width_ns)))

    @property
    def end_ns(self) -> int:
        """Where the last bucket ends."""
        return self.start_ns + self.count * self.width_ns

    def places(self, time_ns: Column) -> Counts:
        """The bucket of each time; -1 for one outside."""
        place: Counts = (time_ns - self.start_ns) // self.width_ns
        place[(place < 0) | (place >= self.count)] = -1
        return place


@dataclass(frozen=True)
class Latency:
    """Seconds by bucket; None where nothing was due."""

    p50: Sequence[float | None]
    p99: Sequence[float | None]
    max: Sequence[float | None]


@dataclass(frozen=True)
class Series:
    """Columns with one number a bucket: messages in it, or seconds.

    `failed` are sends that were refused or whose outcome is not known, where that became known.
    `due` counts also messages of which there is no record, by the numbers that are missing.
    `outside` counts records (by what is drawn) that do not lie on the axis.
    """

    axis: Axis
    due: Sequence[int]
    acknowledged: Sequence[int]
    failed: Sequence[int]
    aborted: Sequence[int]
    delivered: Sequence[int]
    sending: Latency
    delivery: Latency
    outside: int


def read(
    run_directory: Path, axis: Axis, due: Mapping[int, int], load_ns: tuple[int, int]
) -> Series:
    """The series of a run. `due` is how many messages of each producer were due while load was
    offered, in `load_ns`. Raises HistoryError when there is no history or it is damaged."""
    sums = _Sums(axis)
    recorded = [
        stream for stream in streams(run_directory) if stream.table in ("sends", "deliveries")
    ]
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        for _ in pool.map(sums.see_all, recorded):
            pass
    expected = sum(
        (_due(axis, numbers, due.get(producer), load_ns)
         for producer, numbers in sorted(sums.numbers.items())),
        np.zeros(axis.count),
    )  # fmt: skip
    return Series(
        axis, np.rint(expected).astype(np.int64).tolist(), sums.acknowledged.tolist(),
        sums.failed.tolist(), sums.aborted.tolist(), sums.delivered.tolist(),
        sums.sending.latency(), sums.delivery.latency(), sums.outside,
    )  # fmt: skip


class _Sums:
    """What all streams add up to. `numbers` tells for each producer, by bucket of due time, the
    highest sequence number + 1."""

    def __init__(self, axis: Axis) -> None:
        self._axis, self._lock = axis, threading.Lock()
        self.acknowledged, self.failed, self.aborted, self.delivered = np.zeros(
            (4, axis.count), np.int64
        )
        self.sending, self.delivery = _Histogram(axis), _Histogram(axis)
        self.numbers: dict[int, Counts] = {}
        self.outside = 0

    def see_all(self, stream: Stream) -> None:
        """Take in a stream; several threads may."""
        for batch in stream.batches():
            if batch.table == "deliveries":
                self._delivered(batch)
            elif batch.table == "sends":
                self._sent(batch)

    def _delivered(self, batch: Batch) -> None:
        ours = (batch["producer"] >= 0) & batch["intact"]
        due_ns, received_ns = batch["due_ns"][ours], batch["received_ns"][ours]
        self._place(self.delivered, received_ns)
        self.delivery.add(due_ns, received_ns - due_ns, self._lock)

    def _sent(self, batch: Batch) -> None:
        done_ns, due_ns = batch["done_ns"], batch["due_ns"]
        acked = batch["outcome"] == Outcome.OK
        aborted = batch["outcome"] == Outcome.ABORTED
        self._place(self.acknowledged, done_ns[acked])
        self._place(self.failed, done_ns[~acked & ~aborted])
        self._place(self.aborted, done_ns[aborted])
        self.sending.add(due_ns[acked], (done_ns - due_ns)[acked], self._lock)
        with self._lock:
            numbers = self.numbers.setdefault(batch.producer, np.zeros(self._axis.count, np.int64))
        # A producer has one stream, which one thread reads.
        place = self._axis.places(due_ns)
        inside = place >= 0
        np.maximum.at(numbers, place[inside], batch["sequence"][inside] + 1)

    def _place(self, counts: Counts, time_ns: Column) -> None:
        place = self._axis.places(time_ns)
        inside = place[place >= 0]
        found = np.bincount(inside, minlength=self._axis.count)
        with self._lock:
            counts += found
            self.outside += len(place) - len(inside)


class _Histogram:
    """Latencies by bucket of due time."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self.counts = np.zeros((axis.count, BINS), np.int64)
        self.longest = np.full(axis.count, -1, np.int64)

    def add(self, due_ns: Column, latency_ns: Column, lock: threading.Lock) -> None:
        """Take in messages; `lock` is held only while they are added up."""
        place = self._axis.places(due_ns)
        inside = place >= 0
        place, latency_ns = place[inside], np.maximum(latency_ns[inside], 0)
        if not len(place):
            return
        # A batch covers few buckets, so only those are counted in.
        first, last = int(place.min()), int(place.max())
        wide = (place - first) * BINS + bins(latency_ns)
        found = np.bincount(wide, minlength=(last - first + 1) * BINS)
        with lock:
            np.maximum.at(self.longest, place, latency_ns)
            self.counts[first : last + 1] += found.reshape(-1, BINS)

    def latency(self) -> Latency:
        """In seconds by bucket. A quantile is the middle of its step, and never above the
        maximum."""
        total = self.counts.sum(axis=1)
        until = self.counts.cumsum(axis=1)
        told = {}
        for name, share in QUANTILES.items():
            rank = np.maximum(np.ceil(share * total), 1)
            step = (until < rank[:, None]).sum(axis=1)
            value_ns = np.minimum(middles()[np.minimum(step, BINS - 1)], self.longest)
            told[name] = _seconds(value_ns, total > 0)
        return Latency(max=_seconds(self.longest, total > 0), **told)


def _seconds(value_ns: NDArray[np.generic], known: NDArray[np.bool_]) -> list[float | None]:
    values = value_ns.tolist()
    return [value / 1e9 if there else None for value, there in zip(values, known, strict=True)]


def bins(latency_ns: Column) -> Counts:
    """The step of each latency: its power of two, and then 32 equal steps."""
    value = np.maximum(latency_ns, 1).astype(np.float64)
    mantissa, exponent = np.frexp(value)  # value = mantissa * 2**exponent, mantissa in [0.5, 1)
    step = ((mantissa * 2 - 1) * (1 << _STEPS_LOG2)).astype(np.int64)
    found = ((exponent.astype(np.int64) - 1 - _LOWEST_LOG2) << _STEPS_LOG2) + step + 1
    clipped: Counts = np.clip(found, 0, BINS - 1)
    return clipped


def middles() -> NDArray[np.float64]:
    """The middle of each step, in ns."""
    number = np.arange(BINS - 1)
    octave, step = number >> _STEPS_LOG2, number & ((1 << _STEPS_LOG2) - 1)
    width = 2.0 ** (octave + _LOWEST_LOG2 - _STEPS_LOG2)
    upper = 2.0 ** (octave + _LOWEST_LOG2) + (step + 0.5) * width
    return np.concatenate([[2.0 ** (_LOWEST_LOG2 - 1)], upper])


def _due(
    axis: Axis, numbers: Counts, due: int | None, load_ns: tuple[int, int]
) -> NDArray[np.float64]:
    """How many messages of a producer were due in each bucket.

    They are numbered without gaps in the order of their due times, so the highest number of a
    bucket tells how many were due until its end, and what has no record is told by its neighbours.
    """
    known = np.flatnonzero(numbers)
    if not len(known):
        return np.zeros(axis.count)
    ends = axis.start_ns + axis.width_ns * np.arange(1, axis.count + 1, dtype=np.float64)
    times = [float(axis.start_ns + axis.width_ns * known[0]), *ends[known]]
    counts = [0.0, *np.maximum.accumulate(numbers[known])]
    start_ns, end_ns = load_ns
    if due is not None and end_ns > times[-2]:
        # What was due after the last record is told by how many were due in all.
        total = max(float(np.interp(start_ns, times, counts)) + due, counts[-1])
        times = [*(time for time in times if time < end_ns), float(end_ns)]
        counts = [*counts[: len(times) - 1], total]
    return np.diff(np.interp(ends, times, counts), prepend=0.0)
