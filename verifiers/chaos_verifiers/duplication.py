"""Duplication: messages that were stored or delivered more than once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Column, Facts, Figure, Finding, Verdict
from chaos_verifiers import records
from chaos_verifiers.records import Messages, Table
from chaos_verifiers.thresholds import Count

_MOST = 255


@dataclass
class State:
    """`marks` has a mark of the first stored position of each message, `copies` the marks of the
    others. `times` counts the deliveries of each that the broker did not flag, `flagged` the rest.
    """

    marks: Messages = field(default_factory=lambda: Messages(np.uint32))
    copies: Table = field(default_factory=lambda: Table(3))
    times: Messages = field(default_factory=lambda: Messages(np.uint8))
    flagged: int = 0


@dataclass(frozen=True)
class Duplication:
    """Counts copies of one message, which is told by producer and sequence number.

    - *stored twice*: it is stored at more than one position (reading one position twice is not);
    - *delivered twice*: consumers got it more often than it is stored, and the broker did not flag
      it; so one stored copy too many is not counted a second time here;
    - *redelivered*: deliveries that the broker flagged as possible repeats. Told, never judged.

    A send of unknown outcome that appears once is no duplicate. Proved: each message that is named
    was stored or delivered more than once. Not proved: that there were no duplicates where the
    stream was not read back, or among what retention deleted before. Two positions of one message
    in different partitions are taken for one with a probability of 2**-32.
    """

    max_stored: Count | None = None
    """Most messages stored twice for a PASS; unset: they are only told."""
    max_delivered: Count | None = None
    """Most messages delivered twice for a PASS; unset: they are only told."""

    question: ClassVar[str] = "Were messages stored or delivered more than once?"
    tables: ClassVar[frozenset[str]] = frozenset({"deliveries", "stored"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if batch.table == "stored":
            _fold_stored(state, records.whole(batch))
        else:
            _fold_delivered(state, records.whole(batch))
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        for key, theirs in b.marks.pages.items():
            everywhere = np.flatnonzero(theirs)
            _mark(a, key, everywhere, theirs[everywhere])
        a.copies.extend(b.copies)
        a.times.merge(b.times, _sum)
        a.flagged += b.flagged
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        if not (state.marks.pages or state.times.pages or state.flagged):
            return Finding(Verdict.UNKNOWN, "Nothing was delivered or stored that could be judged.")
        stored, delivered = _found(state)
        figures = (
            records.at_most("stored twice", len(stored), self.max_stored),
            records.at_most("delivered twice", len(delivered), self.max_delivered),
            Figure("redelivered, flagged by the broker", state.flagged, "deliveries"),
        )
        told = f"{len(stored):,} messages were stored and {len(delivered):,} delivered twice."
        if any(figure.ok is False for figure in figures):
            verdict = Verdict.FAIL
        elif self.max_stored is not None and not _all_read(facts):
            verdict = Verdict.UNKNOWN
            told = "What is stored was not read back to its end, so it may hold duplicates."
        else:
            verdict = Verdict.PASS
        found = {"stored twice": stored, "delivered twice": delivered}
        return Finding(verdict, told, figures, anomalies=records.anomalies(found))


def _all_read(facts: Facts) -> bool:
    return bool(facts.ends) and len(records.read_back(facts)) == len(facts.ends)


def _fold_stored(state: State, batch: Batch) -> None:
    # An odd factor keeps any two offsets of a partition below 2**32 apart.
    place = batch["offset"] * 2_654_435_761 + batch["partition"] * 40_503 + 1
    marks = place.astype(np.uint32)
    np.maximum(marks, 1, out=marks)
    for key, rows, places in records.pages(batch):
        _mark(state, key, places, marks[rows])


def _mark(state: State, key: tuple[int, int], places: Column, marks: Column) -> None:
    """Keep the first mark of each message; a different one is a copy."""
    page = state.marks.page(key)
    free = page[places] == 0
    page[places[free]] = marks[free]
    differs = page[places] != marks
    sequence = places[differs] + (key[1] << records.PAGE_BITS)
    state.copies.add(key[0], sequence, marks[differs])


def _fold_delivered(state: State, batch: Batch) -> None:
    flagged = batch["redelivered"]
    state.flagged += int(np.count_nonzero(flagged))
    fresh = records.select(batch, ~flagged)
    for key, _, places in records.pages(fresh):
        low, high = int(places.min()), int(places.max()) + 1
        times = state.times.page(key)[low:high]
        times[:] = _sum(times, np.bincount(places - low))


def _sum(a: NDArray[np.uint8], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """Counts that stop at the most that a page can hold, instead of starting over."""
    return np.minimum(a + b.astype(np.int64), _MOST)


def _found(state: State) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Messages stored twice, and delivered more often than stored: rows of four columns."""
    copies = state.copies.rows()
    held = state.marks.of(copies[:, 0], copies[:, 1])
    copies = copies[copies[:, 2] != held]
    stored, delivered, times = Table(4), Table(4), Messages(np.uint8)
    stored.add(copies[:, 0], copies[:, 1], -1, -1)
    for key, _, places in records.by_page(copies[:, 0], copies[:, 1]):
        times.page(key)[:] = _sum(times.page(key), np.bincount(places, minlength=records.PAGE))
    for producer, sequence in state.times.where(lambda page: page > 1):
        extra = times.of(np.full(len(sequence), producer), sequence)
        often = state.times.of(np.full(len(sequence), producer), sequence)
        repeated = sequence[often > extra.astype(np.int64) + 1]
        delivered.add(producer, repeated, -1, -1)
    return stored.rows(), delivered.rows()
