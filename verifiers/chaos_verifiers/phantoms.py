"""Phantoms: messages that should not be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Facts, Figure, Finding, Outcome, Verdict
from chaos_verifiers import records
from chaos_verifiers.records import Messages, Table
from chaos_verifiers.thresholds import Count

_SEEN, _REFUSED, _ABORTED = np.uint8(1), np.uint8(2), np.uint8(4)


@dataclass
class State:
    """`flags` says of each message whether it was seen, refused or aborted. `strange` holds what is
    not a whole message of the run; those without an offset cannot be told apart, so they are
    counted in `unplaced`. `seen` counts everything that came out."""

    flags: Messages = field(default_factory=lambda: Messages(np.uint8))
    strange: Table = field(default_factory=lambda: Table(4))
    unplaced: Counter[str] = field(default_factory=Counter)
    seen: int = 0


@dataclass(frozen=True)
class Phantoms:
    """Looks at everything that was delivered or stored for what should not be there.

    - *never sent*: a number that its producer never used, or a producer that there was not;
    - *refused*: the broker said surely not, and there it is;
    - *aborted*: its transaction was rolled back, and there it is all the same;
    - *damaged*: it carries the mark of this run, but its length or CRC is wrong;
    - *foreign*: it does not carry the mark of this run.

    Proved: each message that is named is there, with its position where the broker gives one. A
    send of unknown outcome is no phantom, whether it appears or not. A producer puts on record
    which numbers it will use before it uses them, so this holds for runs that were cut off, too.
    Not proved: that a message with a right CRC went to the right partition.
    """

    max: Count = 0
    """Most phantoms for a PASS."""

    question: ClassVar[str] = "Did messages appear that should not exist?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "deliveries", "stored"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if batch.table == "sends":
            for outcome, flag in ((Outcome.REFUSED, _REFUSED), (Outcome.ABORTED, _ABORTED)):
                never = batch["outcome"] == outcome
                if never.any():
                    _flag(state, records.select(batch, never), flag)
        else:
            state.seen += len(batch)
            good = records.whole(batch)
            _flag(state, good, _SEEN)
            if len(good) < len(batch):
                _keep(state, batch)
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        a.flags.merge(b.flags, np.bitwise_or)
        a.strange.extend(b.strange)
        a.unplaced += b.unplaced
        a.seen += b.seen
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        if not state.seen:
            return Finding(Verdict.UNKNOWN, "Nothing was delivered or stored that could be judged.")
        strange = state.strange.rows()
        found = {
            "never sent": _never_sent(state.flags, facts),
            "refused": _rows(state.flags.where(lambda page: page == _SEEN | _REFUSED)),
            "aborted": _rows(state.flags.where(lambda page: page == _SEEN | _ABORTED)),
            "damaged": strange[strange[:, 0] >= 0],
            "foreign": strange[strange[:, 0] < 0],
        }
        counts = {kind: _count(rows, state.unplaced[kind]) for kind, rows in found.items()}
        total = sum(counts.values())
        figures = (
            records.at_most("phantoms", total, self.max),
            *(Figure(kind, count, "messages") for kind, count in counts.items()),
            Figure("seen", state.seen, "records"),
        )
        why = f"All {state.seen:,} records are of messages that were sent."
        if total:
            told = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
            why = f"Among {state.seen:,} records: {told}."
        verdict = Verdict.PASS if total <= self.max else Verdict.FAIL
        return Finding(verdict, why, figures, anomalies=records.anomalies(found))


def _flag(state: State, batch: Batch, flag: np.uint8) -> None:
    for key, _, places in records.pages(batch):
        state.flags.page(key)[places] |= flag


def _count(rows: NDArray[np.int64], unplaced: int) -> int:
    """Messages, by number or position; `unplaced` rows have neither and stand in one row."""
    return int(np.count_nonzero(rows[:, 3] >= 0)) + unplaced if unplaced else len(rows)


def _kind(producer: int) -> str:
    return "damaged" if producer >= 0 else "foreign"


def _keep(state: State, batch: Batch) -> None:
    bad = records.select(batch, ~batch["intact"] | (batch["producer"] < 0))
    state.strange.add(bad["producer"], bad["sequence"], bad["partition"], bad["offset"])
    state.unplaced += Counter(
        _kind(producer) for producer in bad["producer"][bad["offset"] < 0].tolist()
    )


def _never_sent(flags: Messages, facts: Facts) -> NDArray[np.int64]:
    def outside(producer: int, sequence: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (sequence < 0) | (sequence >= facts.handed_out.get(producer, 0))

    return _rows((p, s[outside(p, s)]) for p, s in flags.where(lambda page: page & _SEEN > 0))


def _rows(found: Iterator[tuple[int, NDArray[np.int64]]]) -> NDArray[np.int64]:
    table = Table(4)
    for producer, sequence in found:
        table.add(producer, sequence, -1, -1)
    return table.rows()
