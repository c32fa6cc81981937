"""Histories written by hand, in memory or as real run directories.

Times are seconds after `ORIGIN_NS`. A `History` is changed in place by tests: that is the point.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chaos.facts import Story, tell
from chaos.history.events import EventLog
from chaos.history.schema import ENDS, FINAL, RESERVED, TABLES
from chaos.history.writer import Writer, stream_path
from chaos.spi import (
    Batch,
    Facts,
    Finding,
    Handling,
    Json,
    Kind,
    Outcome,
    PartitionEnd,
    Verifier,
)

ORIGIN_NS = 1_700_000_000_000_000_000

T = TypeVar("T")


def at(seconds: float) -> int:
    """A time on the run's clock."""
    return ORIGIN_NS + round(seconds * 1e9)


@dataclass
class Send:
    """One row of "sends"."""

    sequence: int
    partition: int = 0
    offset: int = -1
    due_s: float = 0.0
    done_s: float = 0.0
    outcome: Outcome = Outcome.OK
    producer: int = 0
    key: int = -1

    def row(self) -> dict[str, Any]:
        """By column."""
        due_ns = at(self.due_s)
        return {
            "sequence": self.sequence, "key": self.key, "partition": self.partition,
            "offset": self.offset, "due_ns": due_ns, "sent_ns": due_ns, "done_ns": at(self.done_s),
            "outcome": int(self.outcome),
        }  # fmt: skip


@dataclass
class Copy:
    """One row of "deliveries" or "stored"; `client` is the number of the consumer or reader."""

    sequence: int
    partition: int = 0
    offset: int = -1
    received_s: float = 0.0
    producer: int = 0
    client: int = 0
    redelivered: bool = False
    intact: bool = True
    kind: Kind = Kind.NORMAL

    def row(self) -> dict[str, Any]:
        """By column."""
        return {
            "kind": int(self.kind), "handled_ns": at(self.received_s), "producer": self.producer,
            "sequence": self.sequence, "partition": self.partition,
            "offset": self.offset, "due_ns": at(0), "received_ns": at(self.received_s),
            "redelivered": self.redelivered, "intact": self.intact,
        }  # fmt: skip


@dataclass
class Attempt:
    """One row of "handlings"; `client` is the number of the consumer."""

    sequence: int
    outcome: Handling = Handling.THREW
    attempt: int = 1
    started_s: float = 0.0
    done_s: float = 0.0
    partition: int = 0
    offset: int = -1
    kind: Kind = Kind.THROWS
    producer: int = 0
    client: int = 0

    def row(self) -> dict[str, Any]:
        """By column."""
        return {
            "producer": self.producer, "sequence": self.sequence, "partition": self.partition,
            "offset": self.offset, "kind": int(self.kind), "attempt": self.attempt,
            "started_ns": at(self.started_s), "done_ns": at(self.done_s),
            "outcome": int(self.outcome),
        }  # fmt: skip


@dataclass
class Piece:
    """One row of "replicas"; `last` None: one message."""

    node: str
    offset: int
    last: int | None = None
    digest: int = 1
    partition: int = 0
    epoch: int = 0
    producer: int = 0
    sequence: int = -1

    def row(self) -> dict[str, Any]:
        """By column."""
        last = self.offset if self.last is None else self.last
        return {**vars(self), "last": last}


@dataclass
class Fault:
    """A fault as the engine records it; times are None for steps that did not happen."""

    id: str
    started_s: float
    ended_s: float | None
    proved: bool = True
    fault: str = "process.kill"
    nodes: tuple[str, ...] = ("kafka-1",)
    heal_s: float | None = None
    """Else 0.1 s before it ended."""
    undone_s: float | None = None

    def events(self) -> list[Json]:
        """The steps in order."""
        undone = {"undone_ns": at(self.undone_s)} if self.undone_s is not None else {}
        steps: list[tuple[str, float | None, Json]] = [
            ("planned", self.started_s - 0.1, {"nodes": list(self.nodes)}),
            ("attempt", self.started_s, {"nodes": list(self.nodes)}),
            ("injected", self.started_s + 0.01, {}),
            ("effect" if self.proved else "unproved", self.started_s + 0.02, {"figures": {"n": 1}}),
            ("heal", self.heal_s or (self.ended_s and self.ended_s - 0.1), {}),
            ("gone", self.ended_s, {"figures": {"n": 0}, **undone}),
        ]
        return [
            {"time_ns": at(time_s), "kind": "fault", "id": self.id, "fault": self.fault,
             "what": what, **more}
            for what, time_s, more in steps if time_s is not None
        ]  # fmt: skip


@dataclass
class History:
    """Everything that is recorded of a run. `ends` is by partition: first, end, read."""

    sends: list[Send] = field(default_factory=list)
    deliveries: list[Copy] = field(default_factory=list)
    stored: list[Copy] = field(default_factory=list)
    dead: list[Copy] = field(default_factory=list)
    handlings: list[Attempt] = field(default_factory=list)
    ends: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    dead_ends: dict[int, tuple[int, int, int]] | None = None
    faults: list[Fault] = field(default_factory=list)
    load_s: tuple[float, float] = (0.0, 60.0)
    handed_out: dict[int, int] = field(default_factory=dict)
    due: dict[int, int] = field(default_factory=dict)
    leaders: list[tuple[float, dict[int, str | None]]] = field(default_factory=list)
    more_events: list[Json] = field(default_factory=list)
    final: bool = True
    replicas: list[Piece] = field(default_factory=list)
    held: dict[str, dict[int, tuple[int, int, int]]] | None = None
    """By node and partition: first, end, read of what it holds."""

    # ------------------------------------------------------------------------------- in memory

    def batches(self, rows: int = 1_000_000) -> list[Batch]:
        """All batches, sends first: the costly order, so the one in which to test."""
        found: list[Batch] = []
        for table, client, producer, records in self._streams():
            for start in range(0, len(records), rows):
                piece = [record.row() for record in records[start : start + rows]]
                columns = {name: _column(table, name, piece) for name in TABLES[table].names}
                found.append(Batch(table, client, producer, columns))
        return found

    def facts(self) -> Facts:
        """What `chaos.facts` makes of it."""
        story = self.story()
        return Facts(
            handed_out=self._handed_out(),
            final=self.final,
            faults=tuple(story.spans),
            ends={number: PartitionEnd(number, *end) for number, end in self.ends.items()},
            load_started_ns=at(self.load_s[0]),
            load_ended_ns=at(self.load_s[1]),
            due=self._due(),
            sightings=tuple(story.sightings),
            partitions=len(self.ends),
            connections={name: tuple(known) for name, known in story.connections.items()},
            blocked={name: tuple(known) for name, known in story.blocked.items()},
            dead_ends=None if self.dead_ends is None else {
                number: PartitionEnd(number, *end) for number, end in self.dead_ends.items()
            },
            replicas=None if self.held is None else {
                node: {number: PartitionEnd(number, *end) for number, end in ends.items()}
                for node, ends in self.held.items()
            },
        )  # fmt: skip

    def story(self) -> Story:
        """Its events as `chaos.facts` reads them."""
        return tell(self.events())

    def events(self) -> list[Json]:
        """In order of time."""
        due = {str(number): count for number, count in self._due().items()}
        views = [
            {"time_ns": at(time_s), "kind": "view", "controller": None,
             "leaders": {str(number): leader for number, leader in leaders.items()}}
            for time_s, leaders in self.leaders
        ]  # fmt: skip
        events: list[Json] = [
            {
                "time_ns": at(self.load_s[0] - 1),
                "kind": "run",
                "run": "1f",
                "name": "by-hand",
                "expects": {
                    "faults": [],
                    "producers": 0,
                    "consumers": 0,
                    "readable": False,
                    "replicas": True,
                }
                if self.held is not None
                else {},
            },
            {"time_ns": at(self.load_s[0]), "kind": "load", "what": "started"},
            {"time_ns": at(self.load_s[1]), "kind": "load", "what": "ended", "due": due},
            *views,
            *(event for fault in self.faults for event in fault.events()),
            *self.more_events,
        ]
        return sorted(events, key=lambda event: event["time_ns"])

    # ------------------------------------------------------------------------------ on the disk

    def write(self, directory: Path, rows: int = 1000) -> Path:
        """A run directory as a real run leaves it."""
        directory.mkdir(parents=True, exist_ok=True)
        log = EventLog(directory / "events.jsonl")
        for event in self.events():
            log.add(**event)
        log.close()
        for table, client, producer, records in self._streams():
            writer = Writer(stream_path(directory, client, table), table)
            if table == "sends":
                writer.write(metadata={RESERVED: b"%d" % self._handed_out()[producer]})
            for start in range(0, len(records), rows):
                piece = [record.row() for record in records[start : start + rows]]
                writer.write([_column(table, name, piece) for name in TABLES[table].names])
            if self.final:
                writer.write(metadata=self._last(table, client))
            writer.close()
        return directory

    def _last(self, table: str, client: str) -> dict[bytes, bytes]:
        by_table = {
            "stored": self.ends, "dead": self.dead_ends or {},
            "replicas": (self.held or {}).get(client, {}),
        }  # fmt: skip
        if table not in by_table:
            return {FINAL: b"1"}
        ends = [[number, *end] for number, end in by_table[table].items()]
        return {FINAL: b"1", ENDS: json.dumps(ends).encode()}

    # ------------------------------------------------------------------------------------ parts

    def _streams(self) -> Iterable[tuple[str, str, int, Sequence[Send | Copy | Attempt | Piece]]]:
        """Table, client, producer number and records of each stream."""
        for number, sends in _grouped(self.sends, "producer"):
            yield "sends", f"producer-{number}", number, sends
        for number, copies in _grouped(self.deliveries, "client"):
            yield "deliveries", f"consumer-{number}", -1, copies
        for number, copies in _grouped(self.stored, "client"):
            yield "stored", f"reader-{number}", -1, copies
        for number, copies in _grouped(self.dead, "client"):
            yield "dead", f"reader-{number}", -1, copies
        for number, attempts in _grouped(self.handlings, "client"):
            yield "handlings", f"consumer-{number}", -1, attempts
        for node in sorted({piece.node for piece in self.replicas}):
            yield "replicas", node, -1, [each for each in self.replicas if each.node == node]

    def _handed_out(self) -> dict[int, int]:
        used: dict[int, int] = {}
        for send in self.sends:
            used[send.producer] = max(send.sequence + 1, used.get(send.producer, 0))
        return used | self.handed_out

    def _due(self) -> dict[int, int]:
        due: dict[int, int] = {}
        for send in self.sends:
            if self.load_s[0] <= send.due_s < self.load_s[1]:
                due[send.producer] = due.get(send.producer, 0) + 1
        return due | self.due


def _grouped(records: list[T], name: str) -> Iterable[tuple[int, list[T]]]:
    def number(record: T) -> int:
        return int(getattr(record, name))

    for value, group in groupby(sorted(records, key=number), key=number):
        yield value, list(group)


def _column(table: str, name: str, rows: Sequence[Json]) -> np.ndarray[Any, Any]:
    return np.array([row[name] for row in rows], TABLES[table].field(name).type.to_pandas_dtype())


def right(count: int, *, every_s: float = 0.01, partitions: int = 1, producers: int = 1) -> History:
    """A history in which all is well: `count` messages of each producer, one each `every_s`, all
    acknowledged 1 ms and delivered 2 ms after they were due, and read back from the start."""
    history = History(load_s=(0.0, count * every_s))
    offsets = dict.fromkeys(range(partitions), 0)
    for sequence in range(count):
        for producer in range(producers):
            partition, due_s = sequence % partitions, sequence * every_s
            offset = offsets[partition]
            offsets[partition] += 1
            history.sends.append(
                Send(sequence, partition, offset, due_s, due_s + 0.001, producer=producer)
            )
            history.deliveries.append(Copy(sequence, partition, offset, due_s + 0.002, producer))
            history.stored.append(Copy(sequence, partition, offset, 999.0, producer))
    history.ends = {number: (0, end, end) for number, end in offsets.items()}
    return history


def find(records: list[T], sequence: int, producer: int = 0) -> T:
    """The record of one message."""
    return next(
        record for record in records
        if (record.sequence, record.producer) == (sequence, producer)  # type: ignore[attr-defined]
    )  # fmt: skip


def drop(records: list[T], sequence: int, producer: int = 0) -> T:
    """Take the record of one message away."""
    found = find(records, sequence, producer)
    records.remove(found)
    return found


def answer(verifier: Verifier[Any], history: History, rows: int = 1_000_000) -> Finding:
    """What a verifier says of a history, folded in one piece."""
    state = verifier.start()
    for batch in history.batches(rows):
        if batch.table in verifier.tables:
            state = verifier.fold(state, batch)
    return verifier.finish(state, history.facts())


def named(finding: Finding, *kinds: str) -> set[tuple[str, int, int]]:
    """(kind, producer, sequence) of the anomalies, of all kinds unless some are named."""
    return {
        (anomaly.kind, anomaly.producer, anomaly.sequence)
        for anomaly in finding.anomalies
        if not kinds or anomaly.kind in kinds
    }


def figure(finding: Finding, name: str) -> float | None:
    """The value of one figure."""
    return next(figure.value for figure in finding.figures if figure.name == name)
