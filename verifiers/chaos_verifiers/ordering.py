"""Ordering: messages that came out in another order than they were sent in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chaos.spi import ANOMALY_LIMIT, Anomaly, Batch, Facts, Figure, Finding, Verdict
from chaos_verifiers import records
from chaos_verifiers.lines import Lines
from chaos_verifiers.records import Messages
from chaos_verifiers.thresholds import Count

_KEY_AT = 40
"""Sequences are lower than two to the power of this."""


@dataclass
class State:
    """What was stored and what was delivered, line by line; `keys` is one more than the number of
    each message's key. `seen` counts the messages that came out."""

    stored: Lines = field(default_factory=Lines)
    delivered: Lines = field(default_factory=Lines)
    keys: Messages = field(default_factory=lambda: Messages(np.int32))
    seen: int = 0


@dataclass(frozen=True)
class Ordering:
    """Compares the order in which messages of one producer are stored in a partition, and come out
    of it, with the order in which they were sent.

    - *stored out of order*: a later message of the same producer lies before it in the partition;
    - *within a key*: the same, and that later message has the same key;
    - *delivered out of order*: a consumer got a later one of the same producer and partition first.

    The order of what is stored is told by offsets, that of deliveries by arrival. A copy of a
    message that was in order, and a delivery from further back than where the consumer was (after a
    rebalance), are repeats: they belong to duplication. A send that was tried again and stored
    behind later ones is out of order, whatever its producer was told of it. Of a stream that hands
    its messages out and forgets them (a queue) only deliveries are judged: what is left at the end
    was given back by consumers.

    Proved: each message that is named lies or came behind the one that its note names. Not proved:
    the order between producers or between partitions, which nobody promises, so nor that of a key
    whose messages went to several partitions.
    """

    max: Count | None = 0
    """Most messages stored, and most delivered, out of order for a PASS; null: only told."""
    max_within_key: Count | None = None
    """Most messages stored out of order within their key for a PASS; unset: they are only told."""

    question: ClassVar[str] = "Did messages keep their order?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "deliveries", "stored"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if batch.table == "sends":
            for key, rows, places in records.pages(batch):
                state.keys.page(key)[places] = batch["key"][rows] + 1
            return state
        good = records.whole(batch)
        state.seen += len(good)
        if batch.table == "stored":
            state.stored.follow(good)
        else:
            state.delivered.follow(records.select(good, ~good["redelivered"]))
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        a.stored.merge(b.stored)
        a.delivered.merge(b.delivered)
        a.keys.merge(b.keys, np.maximum)
        a.seen += b.seen
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        if not state.seen:
            return Finding(Verdict.UNKNOWN, "Nothing was delivered or stored that could be judged.")
        real = _sent(facts)
        delivered = state.delivered.found(real)
        # What is left of a stream that hands its messages out was given back by consumers, one
        # after the other, and nobody promises an order of that.
        stored = state.stored.found(real) if facts.keeps else delivered[:0]
        in_key = _within_key(state, stored)
        figures = (
            records.at_most("stored out of order", len(stored), self.max),
            records.at_most("within a key", len(in_key), self.max_within_key),
            records.at_most("delivered out of order", len(delivered), self.max),
            Figure("seen", state.seen, "records"),
        )
        found = {
            "stored out of order": stored, "within a key": in_key,
            "delivered out of order": delivered,
        }  # fmt: skip
        anomalies = tuple(a for kind, rows in found.items() for a in _anomalies(kind, rows))
        verdict, why = self._judge(state, facts, figures)
        return Finding(verdict, why, figures, anomalies=anomalies)

    def _judge(
        self, state: State, facts: Facts, figures: tuple[Figure, ...]
    ) -> tuple[Verdict, str]:
        stored, in_key, delivered = (int(figure.value or 0) for figure in figures[:3])
        told = f"All {state.seen:,} records are in the order of their producers."
        if stored or delivered:
            told = (
                f"{stored:,} messages are stored and {delivered:,} were delivered after later"
                f" ones; {in_key:,} are stored after a later one of their key."
            )
        if any(figure.ok is False for figure in figures):
            return Verdict.FAIL, told
        if self.max is None and self.max_within_key is None:
            return Verdict.PASS, told
        if facts.keeps and state.stored.back:
            return Verdict.UNKNOWN, "What is stored is not on record in the order of its offsets."
        if len(records.read_back(facts)) < len(facts.ends):
            return Verdict.UNKNOWN, "What is stored was not read back to its end."
        return Verdict.PASS, told


def _sent(facts: Facts) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    """Whether both messages of a row were really sent: one that was made up puts nobody late."""

    def real(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        used = [facts.handed_out.get(producer, 0) for producer in rows[:, 0].tolist()]
        return rows[:, 4] < np.array(used, np.int64)

    return real


def _within_key(state: State, late: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of `late` that came after a message of their key; this one stands in the last
    column."""
    key = state.keys.of(late[:, 0], late[:, 1])
    found = [late[:0]]
    for producer in np.unique(late[:, 0]).tolist():
        mine = (late[:, 0] == producer) & (key > 0)
        if mine.any():
            rows, (keys, number) = late[mine], np.unique(key[mine], return_inverse=True)
            others, first = _in_order(state, producer, rows, keys), number << _KEY_AT
            following = others[np.searchsorted(others, first + rows[:, 1])] - first
            after = np.where(following <= rows[:, 4], following, _overtaking(rows, number))
            found.append(np.column_stack([rows[:, :4], after])[after >= 0])
    return np.concatenate(found)


def _overtaking(late: NDArray[np.int64], keys: NDArray[np.intp]) -> list[int]:
    """For each late message (they go up) another late one, later, of its key and partition that
    lies before it; -1: there is none."""
    lowest: dict[tuple[int, int], tuple[int, int]] = {}
    found = []
    for row, key in zip(late[::-1].tolist(), keys[::-1].tolist(), strict=True):
        _, sequence, partition, offset, _ = row
        before, other = lowest.get((key, partition), (offset, -1))
        found.append(other if before < offset else -1)
        if offset <= before:
            lowest[key, partition] = offset, sequence
    return found[::-1]


def _in_order(
    state: State, producer: int, late: NDArray[np.int64], keys: NDArray[np.int32]
) -> NDArray[np.int64]:
    """The messages with these keys that are in order, between where `late` ones belong and where
    they came. Each is one number, of the place of its key in `keys` and of its sequence; they go
    up, and one more is higher than all."""
    first, last = int(late[:, 1].min()), int(late[:, 4].max())
    found = [np.array([np.iinfo(np.int64).max])]
    for owner, sequence in state.stored.right.where(lambda page: page):
        if owner == producer and sequence[-1] >= first and sequence[0] <= last:
            key = state.keys.of(np.full(len(sequence), owner), sequence)
            some = np.isin(key, keys)
            found.append((np.searchsorted(keys, key[some]) << _KEY_AT) + sequence[some])
    return np.sort(np.concatenate(found))


def _anomalies(kind: str, rows: NDArray[np.int64]) -> list[Anomaly]:
    return [
        Anomaly(kind, producer, sequence, partition, offset, f"after number {after}")
        for producer, sequence, partition, offset, after in rows[:ANOMALY_LIMIT].tolist()
    ]
