"""What became of each message: the state of the loss verifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Column, Facts, Outcome
from chaos_verifiers import records
from chaos_verifiers.records import Messages, Rows, Table

_ACKED, _DELIVERED, _STORED, _WEAK = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)
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


def fold_sends(state: State, batch: Batch) -> None:
    """Take in sends."""
    weak = batch["outcome"] == Outcome.WEAK
    if weak.any():
        for key, _, places in records.pages(records.select(batch, weak)):
            state.flags.page(key)[places] |= _WEAK
    acked = records.acknowledged(batch)
    if not len(acked):
        return
    state.partitions.update(records.distinct(acked["partition"]))
    for key, rows, places in records.pages(acked):
        flags = state.flags.page(key)
        known = flags[places]
        _add(state.acked, key[0], acked, records.within(rows, known & _DELIVERED == 0))
        flags[places] = known | _ACKED
    _trim_when_large(state)


def fold_copies(state: State, batch: Batch) -> None:
    """Take in what was delivered, stored, or dead-lettered: that is as good as delivered."""
    delivered = batch.table != "stored"
    if batch.table == "deliveries" and len(batch):
        _reach(state.reach, batch["partition"], batch["offset"])
    copies = records.whole(batch)
    for key, rows, places in records.pages(copies):
        flags = state.flags.page(key)
        known = flags[places]
        if not delivered:
            _add(state.stored, key[0], copies, records.within(rows, known & _DELIVERED == 0))
        flags[places] = known | (_DELIVERED if delivered else _STORED)
    _trim_when_large(state)


def merge(a: State, b: State) -> None:
    """Take `b` into `a`."""
    a.flags.merge(b.flags, np.bitwise_or)
    a.acked.extend(b.acked)
    a.stored.extend(b.stored)
    a.partitions |= b.partitions
    for partition, offset in b.reach.items():
        a.reach[partition] = max(offset, a.reach.get(partition, -1))


def acknowledged(state: State) -> int:
    """How many messages were acknowledged."""
    return state.flags.count(lambda flags: flags & _ACKED > 0)


def weak(state: State) -> tuple[int, int]:
    """How many messages the broker called stored but not as safe as asked, and how many of them
    came out nowhere."""
    stored = state.flags.count(lambda flags: flags & _WEAK > 0)
    return stored, state.flags.count(lambda flags: flags == _WEAK)


def _add(table: Table, producer: int, batch: Batch, rows: Rows) -> None:
    table.add(producer, *(batch[name][rows] for name in ("sequence", "partition", "offset")))


def _reach(reach: dict[int, int], partition: Column, offset: Column) -> None:
    # One place more than needed, so that partition -1 (not known) has the last one to itself.
    highest = np.full(int(partition.max()) + 2, -1, np.int64)
    np.maximum.at(highest, partition, offset)
    for number in np.flatnonzero(highest[:-1] >= 0).tolist():
        reach[number] = max(int(highest[number]), reach.get(number, -1))


def _trim_when_large(state: State) -> None:
    if len(state.acked) + len(state.stored) > state.trim_at:
        _trim(state)


def _trim(state: State) -> None:
    """Forget where the messages were that have been delivered meanwhile."""

    def undelivered(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(state.flags.of(rows[:, 0], rows[:, 1]) & _DELIVERED == 0)

    state.acked.keep(undelivered)
    state.stored.keep(undelivered)
    state.trim_at = max(_TRIM_AT, 2 * (len(state.acked) + len(state.stored)))


def missing(state: State, facts: Facts) -> dict[str, NDArray[np.int64]]:
    """The acknowledged messages that were not delivered, by what became of them; each is a row of
    producer, sequence, partition and offset."""
    _trim(state)
    rows = state.acked.rows()
    stored = state.flags.of(rows[:, 0], rows[:, 1]) & _STORED > 0
    whole = np.isin(rows[:, 2], list(records.told_by_reading(facts)))
    gone = ~stored & (whole | _passed(rows, state.reach))
    copies, skipped = state.stored.rows(), Messages(np.bool_)
    copies = copies[_passed(copies, state.reach)]
    for key, _, places in records.by_page(copies[:, 0], copies[:, 1]):
        skipped.page(key)[places] = True
    skipped_over = stored & skipped.of(rows[:, 0], rows[:, 1])
    return {
        "lost": rows[gone],
        "skipped": rows[skipped_over],
        "unread tail": rows[stored & ~skipped_over],
        "unknown": rows[~stored & ~gone],
    }


def _passed(rows: NDArray[np.int64], reach: Mapping[int, int]) -> NDArray[np.bool_]:
    """Whether consumers got later messages of the partition, or another one at the same place."""
    reached = np.array([reach.get(partition, -1) for partition in rows[:, 2].tolist()], np.int64)
    passed: NDArray[np.bool_] = (rows[:, 3] >= 0) & (rows[:, 3] <= reached)
    return passed


def vanished(state: State, facts: Facts) -> NDArray[np.int64] | None:
    """What was acknowledged and delivered but is not stored; None if not all was read back, or a
    stream does not keep what it delivered."""
    if not facts.keeps or not state.partitions <= records.told_by_reading(facts):
        return None
    vanished = Table(4)
    for producer, sequence in state.flags.where(lambda flags: flags == _ACKED | _DELIVERED):
        vanished.add(producer, sequence, -1, -1)
    return vanished.rows()
