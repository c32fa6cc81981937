"""Handling: what poisoned messages did to the application that met them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chaos.spi import (
    ANOMALY_LIMIT,
    Anomaly,
    Batch,
    Column,
    Facts,
    Figure,
    Finding,
    Handling,
    Kind,
    Verdict,
)
from chaos_verifiers import records
from chaos_verifiers.records import Table
from chaos_verifiers.thresholds import Count, Positive

Identity = tuple[int, int]
"""(producer, sequence)."""


@dataclass
class Trouble:
    """All attempts at one message that was not handled at once."""

    partition: int
    offset: int
    first_ns: int
    last_ns: int
    attempts: int = 0
    buried: int = 0
    handled: int = 0

    def add(self, other: Trouble) -> None:
        """The same message, at another time or by another consumer."""
        self.first_ns = min(self.first_ns, other.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)
        self.attempts += other.attempts
        self.buried += other.buried
        self.handled += other.handled


@dataclass
class State:
    """Where poisoned messages were seen (producer, sequence, partition, offset), which normal ones
    were in the dead-letter stream, and what troubled whom."""

    stored: Table = field(default_factory=lambda: Table(4))
    done: Table = field(default_factory=lambda: Table(4))
    dead: Table = field(default_factory=lambda: Table(4))
    normal_dead: Table = field(default_factory=lambda: Table(4))
    troubles: dict[Identity, Trouble] = field(default_factory=dict)


@dataclass(frozen=True)
class PoisonHandling:
    """Follows each poisoned message (`message.poison`) through the application that received it.

    - *stuck*: it was attempted and never done with, so what is behind it in its partition waits;
    - *not dead-lettered*: the application was done with it, and it is not in the dead-letter stream
      (or there is none): it is lost there, or was taken for a normal one;
    - *normal ones dead-lettered*: messages that nothing was wrong with;
    - *longest hold-up*: from the first attempt at a message to the last thing done about it, by
      whichever consumers; for one that is stuck to the end of the load, if that came later.

    Proved: each message that is named is poisoned, and is (or is not) in the dead-letter stream,
    which was read to its end. A message that was put there twice is only told, as a consumer that
    dies between that and settling repeats it. Not proved: anything about what the application did
    to other systems, and that a message that nobody came to would not have got stuck.
    """

    max_stuck: Count = 0
    """Most messages that hold up their partition at the end for a PASS."""
    max_lost: Count = 0
    """Most poisoned messages that were done with and are not dead-lettered for a PASS."""
    max_normal: Count = 0
    """Most normal messages in the dead-letter stream for a PASS."""
    max_hold_up: Positive | None = None
    """Longest hold-up by one message for a PASS; unset: it is only told."""

    question: ClassVar[str] = "What did messages do that could not be handled?"
    tables: ClassVar[frozenset[str]] = frozenset({"deliveries", "stored", "dead", "handlings"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if batch.table == "handlings":
            for identity, trouble in _troubles(batch):
                _add(state.troubles, identity, trouble)
            return state
        odd = batch["kind"] != Kind.NORMAL
        table = {"deliveries": state.done, "stored": state.stored, "dead": state.dead}[batch.table]
        if odd.any():
            _keep(table, records.whole(records.select(batch, odd)))
        if batch.table == "dead":
            _keep(state.normal_dead, records.whole(records.select(batch, ~odd)))
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        for name in ("stored", "done", "dead", "normal_dead"):
            getattr(a, name).extend(getattr(b, name))
        for identity, trouble in b.troubles.items():
            _add(a.troubles, identity, trouble)
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        tables = (state.stored, state.done, state.dead, state.normal_dead)
        if not state.troubles and not any(map(len, tables)):
            told = "No message was poisoned, and none was dead-lettered."
            return Finding(Verdict.PASS, told, (Figure("poisoned", 0, "messages"),))
        found = _sorted_out(state)
        holdup_s = _longest_ns(state.troubles, found["stuck"], facts) / 1e9
        attempts = max((trouble.attempts for trouble in state.troubles.values()), default=0)
        figures = (
            records.at_most("stuck", len(found["stuck"]), self.max_stuck),
            records.at_most("not dead-lettered", len(found["not dead-lettered"]), self.max_lost),
            records.at_most(
                "normal ones dead-lettered", len(found["normal dead-lettered"]), self.max_normal
            ),
            records.at_most("longest hold-up", holdup_s, self.max_hold_up, "s"),
            Figure("poisoned", len(_poisoned(state)), "messages"),
            Figure("dead-lettered", len(_ids(state.dead)), "messages"),
            Figure("dead-lettered twice", len(found["dead-lettered twice"]), "messages"),
            Figure("not reached", len(found["not reached"]), "messages"),
            Figure("most attempts", attempts, "attempts"),
        )
        verdict, why = self._judge(state, facts, found, figures)
        return Finding(verdict, why, figures, anomalies=tuple(_anomalies(state, found)))

    def _judge(
        self,
        state: State,
        facts: Facts,
        found: Mapping[str, NDArray[np.int64]],
        figures: tuple[Figure, ...],
    ) -> tuple[Verdict, str]:
        stuck, lost, normal, hold_up, poisoned, *_ = figures
        many = int(poisoned.value or 0)
        if stuck.ok is False and not facts.final:
            return Verdict.UNKNOWN, f"The run broke off while {stuck.value:,} messages were tried."
        if stuck.ok is False:
            partitions = len(set(found["stuck"][:, 2].tolist()))
            return Verdict.FAIL, (
                f"{len(found['stuck']):,} messages that could not be handled hold up"
                f" {partitions} partitions for ever."
            )
        if normal.ok is False:
            return Verdict.FAIL, f"{normal.value:,} normal messages were dead-lettered."
        if facts.dead_ends is not None and many and not _whole(facts):
            return Verdict.UNKNOWN, "The dead-letter stream was not read back to its end."
        if lost.ok is False:
            why = f"{lost.value:,} of {many:,} poisoned messages are not in a dead-letter stream."
            return Verdict.FAIL, why
        if hold_up.ok is False:
            why = f"A message held up what was behind it for {hold_up.value:.3f} s."
            return Verdict.FAIL, why
        if len(found["not reached"]):
            return Verdict.UNKNOWN, f"{len(found['not reached']):,} of {many:,} met no handler."
        return Verdict.PASS, (
            f"{len(_ids(state.dead)):,} of {many:,} poisoned messages are dead-lettered;"
            f" the longest hold-up was {hold_up.value:.3f} s."
        )


def _whole(facts: Facts) -> bool:
    ends = (facts.dead_ends or {}).values()
    return len(ends) >= facts.partitions and all(end.read >= end.end for end in ends)


def _keep(table: Table, batch: Batch) -> None:
    if len(batch):
        table.add(*(batch[name] for name in ("producer", "sequence", "partition", "offset")))


def _troubles(batch: Batch) -> Iterator[tuple[Identity, Trouble]]:
    names = (
        "producer", "sequence", "partition", "offset", "kind", "started_ns", "done_ns", "outcome"
    )  # fmt: skip
    columns: list[Column] = [batch[name] for name in names]
    for producer, sequence, partition, offset, kind, started, done, outcome in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        if kind == Kind.NORMAL and outcome == Handling.CUT:
            continue  # nothing was wrong with it, the run was over
        buried, handled = outcome == Handling.DEAD_LETTERED, outcome == Handling.HANDLED
        trouble = Trouble(
            partition, offset, started, done, int(not buried), int(buried), int(handled)
        )
        yield (producer, sequence), trouble


def _add(troubles: dict[Identity, Trouble], identity: Identity, trouble: Trouble) -> None:
    if identity in troubles:
        troubles[identity].add(trouble)
    else:
        troubles[identity] = trouble


def _ids(table: Table) -> set[Identity]:
    return {(producer, sequence) for producer, sequence, *_ in table.rows().tolist()}


def _poisoned(state: State) -> set[Identity]:
    """All that were seen; one that a queue dead-lettered is seen there alone."""
    return _ids(state.stored) | _ids(state.done) | _ids(state.dead)


def _sorted_out(state: State) -> dict[str, NDArray[np.int64]]:
    """What became of the messages, each once, as rows of producer, sequence, partition, offset."""
    done, dead = _ids(state.done), _ids(state.dead)
    ended = done | {who for who, trouble in state.troubles.items() if trouble.handled}
    stuck = [
        (*who, trouble.partition, trouble.offset)
        for who, trouble in sorted(state.troubles.items())
        if who not in ended and who not in dead and not trouble.buried
    ]
    known = {(row[0], row[1]) for row in stuck} | done | dead | set(state.troubles)
    stored, finished = _each(state.stored), _each(state.done)
    return {
        "stuck": _rows(stuck),
        "not dead-lettered": _rows([row for who, row in finished.items() if who not in dead]),
        "normal dead-lettered": _rows(list(_each(state.normal_dead).values())),
        "dead-lettered twice": _rows(_twice(state.dead)),
        "not reached": _rows([row for who, row in stored.items() if who not in known]),
    }


def _each(table: Table) -> dict[Identity, list[int]]:
    """The first row of each message."""
    found: dict[Identity, list[int]] = {}
    for row in table.rows().tolist():
        found.setdefault((row[0], row[1]), row)
    return found


def _twice(table: Table) -> list[list[int]]:
    seen: set[Identity] = set()
    again: dict[Identity, list[int]] = {}
    for row in table.rows().tolist():
        who = row[0], row[1]
        if who in seen:
            again.setdefault(who, row)
        seen.add(who)
    return list(again.values())


def _rows(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 4)


def _longest_ns(
    troubles: Mapping[Identity, Trouble], stuck: NDArray[np.int64], facts: Facts
) -> int:
    forever = {(row[0], row[1]) for row in stuck.tolist()}
    longest = 0
    for who, trouble in troubles.items():
        last_ns = max(trouble.last_ns, facts.load_ended_ns) if who in forever else trouble.last_ns
        longest = max(longest, last_ns - trouble.first_ns)
    return longest


def _anomalies(state: State, found: Mapping[str, NDArray[np.int64]]) -> Iterator[Anomaly]:
    for kind, rows in found.items():
        for row in rows[:ANOMALY_LIMIT].tolist():
            trouble = state.troubles.get((row[0], row[1]))
            note = f"{trouble.attempts} attempts" if trouble else ""
            # Where it is in the dead-letter stream is no place of the run's own stream.
            partition, offset = (-1, -1) if "dead-lettered" in kind else row[2:]
            if trouble:
                partition, offset = trouble.partition, trouble.offset
            yield Anomaly(kind, row[0], row[1], partition, offset, note)
