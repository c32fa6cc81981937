"""Loss: acknowledged messages that never came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Column, Facts, Figure, Finding, Verdict
from chaos_verifiers import records
from chaos_verifiers.records import Messages, Rows, Table

_ACKED, _DELIVERED, _STORED = np.uint8(1), np.uint8(2), np.uint8(4)
_TRIM_AT = 1 << 20


@dataclass
class State:
    """`flags` says of each message what happened to it. `acked` and `stored` hold where the
    messages are that were not delivered so far, `reach` the highest delivered offset by partition.
    """

    flags: Messages = field(default_factory=lambda: Messages(np.uint8))
    acked: Table = field(default_factory=lambda: Table(4))
    stored: Table = field(default_factory=lambda: Table(4))
    reach: dict[int, int] = field(default_factory=dict)
    partitions: set[int] = field(default_factory=set)
    trim_at: int = _TRIM_AT


@dataclass(frozen=True)
class Loss:
    """Compares what was acknowledged with what consumers got and with what is stored at the end.

    An acknowledged message that no consumer got intact is

    - *lost*: it is not stored although its partition was read back to the end; or, where that was
      not done, consumers got later messages of its partition;
    - *skipped*: it is stored, but consumers got later messages of its partition;
    - in the *unread tail*: it is stored, and consumers did not get that far before the deadline;
    - *unknown*: none of this can be told.

    Proved: each lost message was acknowledged, and is told by what it is, not by its offset, which
    another message may have taken after a truncation. Not proved: that a delivered message is safe
    for good (`delivered but no longer stored` tells those that already vanished), and
    anything about sends without an acknowledgement, which may appear or not.
    """

    max: int = 0
    """Most lost messages for a PASS."""
    max_skipped: int = 0
    """Most skipped messages for a PASS."""

    question: ClassVar[str] = "Were acknowledged messages lost?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "deliveries", "stored"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier. Cheapest when sends come last: then only what is missing is remembered."""
        if batch.table == "sends":
            _fold_sends(state, batch)
        else:
            _fold_copies(state, batch)
        if len(state.acked) + len(state.stored) > state.trim_at:
            _trim(state)
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        a.flags.merge(b.flags, np.bitwise_or)
        a.acked.extend(b.acked)
        a.stored.extend(b.stored)
        a.partitions |= b.partitions
        for partition, offset in b.reach.items():
            a.reach[partition] = max(offset, a.reach.get(partition, -1))
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        _trim(state)
        acked = state.flags.count(lambda flags: (flags & _ACKED) > 0)
        if not acked:
            return Finding(Verdict.UNKNOWN, "No message was acknowledged, so none could be lost.")
        fates = _fates(state, facts)
        vanished = _vanished(state, facts)
        figures = (
            records.at_most("lost", len(fates["lost"]), self.max),
            records.at_most("skipped by consumers", len(fates["skipped"]), self.max_skipped),
            Figure("unread tail", len(fates["unread tail"]), "messages"),
            Figure("unknown", len(fates["unknown"]), "messages"),
            Figure("delivered but no longer stored", _count(vanished), "messages"),
            Figure("acknowledged", acked, "messages"),
        )
        verdict, why = _judge(fates, self, acked)
        if vanished is not None:
            fates["no longer stored"] = vanished
        return Finding(verdict, why, figures, anomalies=records.anomalies(fates))


def _fold_sends(state: State, batch: Batch) -> None:
    acked = records.acknowledged(batch)
    if not len(acked):
        return
    state.partitions.update(records.distinct(acked["partition"]))
    for key, rows, places in records.by_page(acked.producer, acked["sequence"]):
        flags = state.flags.page(key)
        known = flags[places]
        _add(state.acked, key[0], acked, records.within(rows, known & _DELIVERED == 0))
        flags[places] = known | _ACKED


def _fold_copies(state: State, batch: Batch) -> None:
    delivered = batch.table == "deliveries"
    if delivered:
        _reach(state.reach, batch["partition"], batch["offset"])
    copies = records.whole(batch)
    for key, rows, places in records.by_page(copies["producer"], copies["sequence"]):
        flags = state.flags.page(key)
        known = flags[places]
        if not delivered:
            _add(state.stored, key[0], copies, records.within(rows, known & _DELIVERED == 0))
        flags[places] = known | (_DELIVERED if delivered else _STORED)


def _add(table: Table, producer: int, batch: Batch, rows: Rows) -> None:
    table.add(producer, *(batch[name][rows] for name in ("sequence", "partition", "offset")))


def _reach(reach: dict[int, int], partition: Column, offset: Column) -> None:
    # One place more than needed, so that partition -1 (not known) has the last one to itself.
    highest = np.full(int(partition.max()) + 2, -1, np.int64)
    np.maximum.at(highest, partition, offset)
    for number in np.flatnonzero(highest[:-1] >= 0).tolist():
        reach[number] = max(int(highest[number]), reach.get(number, -1))


def _trim(state: State) -> None:
    """Forget where the messages were that have been delivered meanwhile."""

    def missing(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(state.flags.of(rows[:, 0], rows[:, 1]) & _DELIVERED == 0)

    state.acked.keep(missing)
    state.stored.keep(missing)
    state.trim_at = max(_TRIM_AT, 2 * (len(state.acked) + len(state.stored)))


def _fates(state: State, facts: Facts) -> dict[str, NDArray[np.int64]]:
    """The acknowledged messages that were not delivered, by what became of them."""
    rows = state.acked.rows()
    stored = state.flags.of(rows[:, 0], rows[:, 1]) & _STORED > 0
    whole = np.isin(rows[:, 2], list(records.read_back(facts)))
    gone = ~stored & (whole | _passed(rows, state.reach))
    copies, skipped = state.stored.rows(), Messages(np.bool_)
    for key, chosen, places in records.by_page(copies[:, 0], copies[:, 1]):
        skipped.page(key)[places] |= _passed(copies[chosen], state.reach)
    skipped_over = stored & skipped.of(rows[:, 0], rows[:, 1])
    return {
        "lost": rows[gone],
        "skipped": rows[skipped_over],
        "unread tail": rows[stored & ~skipped_over],
        "unknown": rows[~stored & ~gone],
    }


def _passed(rows: NDArray[np.int64], reach: Mapping[int, int]) -> NDArray[np.bool_]:
    """Whether consumers got later messages of the partition."""
    reached = np.array([reach.get(partition, -1) for partition in rows[:, 2].tolist()], np.int64)
    passed: NDArray[np.bool_] = (rows[:, 3] >= 0) & (rows[:, 3] < reached)
    return passed


def _vanished(state: State, facts: Facts) -> NDArray[np.int64] | None:
    """What was acknowledged and delivered but is not stored; None if not all was read back."""
    if not state.partitions <= records.read_back(facts):
        return None
    vanished = Table(4)
    for producer, sequence in state.flags.where(lambda flags: flags == _ACKED | _DELIVERED):
        vanished.add(producer, sequence, -1, -1)
    return vanished.rows()


def _count(rows: NDArray[np.int64] | None) -> int | None:
    return None if rows is None else len(rows)


def _judge(fates: Mapping[str, NDArray[np.int64]], limits: Loss, acked: int) -> tuple[Verdict, str]:
    counts = {kind: len(rows) for kind, rows in fates.items()}
    of = f"of {acked:,} acknowledged messages"
    if counts["lost"] > limits.max:
        return Verdict.FAIL, f"{counts['lost']:,} {of} were lost."
    if counts["skipped"] > limits.max_skipped:
        return Verdict.FAIL, f"{counts['skipped']:,} {of} are stored but consumers skipped them."
    if counts["unknown"]:
        return Verdict.UNKNOWN, (
            f"{counts['unknown']:,} {of} were not delivered, and what is stored was not read back."
        )
    if counts["unread tail"]:
        return Verdict.UNKNOWN, (
            f"Consumers had not reached {counts['unread tail']:,} {of} at the deadline;"
            " they are stored."
        )
    if counts["lost"] or counts["skipped"]:
        return Verdict.PASS, f"{counts['lost'] + counts['skipped']:,} {of} are missing, as allowed."
    return Verdict.PASS, f"All {acked:,} acknowledged messages were delivered."
