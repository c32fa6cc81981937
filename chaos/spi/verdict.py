"""The verifiers: what they see of a run, and what they answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar, cast

from numpy.typing import NDArray

from chaos.spi.broker import PartitionEnd
from chaos.spi.observing import View
from chaos.spi.words import Json

T = TypeVar("T")
_ITSELF = object()


class Verdict(StrEnum):
    """PASS, FAIL or UNKNOWN; the worst of several is FAIL, then UNKNOWN."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


Column = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """A piece of one client's records as equally long columns, named in `chaos.history.schema`.

    `table` is one of `chaos.history.schema.TABLES`; `producer` is the sender's number in "sends",
    else -1. `client` is who recorded it; in "replicas" it is the node that held it. Batches of one
    client come in the order in which it wrote them.
    """

    table: str
    client: str
    producer: int
    columns: Mapping[str, Column]
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: threading.RLock = field(
        default_factory=threading.RLock, init=False, repr=False, compare=False
    )

    def once(self, what: str, make: Callable[[], T]) -> T:
        """What several verifiers need of a batch: made by the first that asks for it by this name,
        and not to be changed. Safe to use from several threads."""
        with self._lock:
            if what not in self._made:
                made = make()
                # Not the batch itself: the cycle would keep its columns in memory.
                self._made[what] = _ITSELF if made is self else made
            known = self._made[what]
            shared: Any = self if known is _ITSELF else known
            return cast(T, shared)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


@dataclass(frozen=True)
class FaultSpan:
    """One fault of a run, on the run's clock.

    It counts as on from `started_ns` (before the attempt) until `ended_ns` (healed, proved gone;
    None: it never was). `proved` is whether its effect was measured while it was on. It was to end
    at `heal_ns`, and what was done to the cluster had been undone at `undone_ns`; None: not known,
    or brokers had a part in it (HealsByBrokers).
    """

    name: str
    fault: str
    nodes: tuple[str, ...]
    started_ns: int
    active_ns: int | None
    ended_ns: int | None
    proved: bool
    heal_ns: int | None = None
    undone_ns: int | None = None


@dataclass(frozen=True)
class Sighting:
    """What the cluster said of itself from a look at `time_ns` on; the last look that still said
    something else was at `since_ns`, so it changed in between."""

    time_ns: int
    since_ns: int
    view: View


@dataclass(frozen=True)
class Facts:
    """What a verifier may know of a run besides the records.

    Producers go by number. `handed_out` gives for each how many sequence numbers it may have used:
    a message of it with a number from this on was never sent.
    `final` is False when the run was cut off, so that the last moments are not on record.
    `ends` is how far each partition was read back (empty: not read back). Load was offered from
    `load_started_ns` until `load_ended_ns`; the time before the first fault is the baseline.
    `due` gives for each producer how many messages were due in that time. `sightings` are in the
    order of their times. `partitions` is how many the stream has (0: not known). `replicas` is how
    far what each node holds was read, by node and partition (None: this broker does not tell).
    `lives` is when the clients were there that a fault killed or that took their place, as (from,
    until). `dead_ends` is how far each partition of the dead-letter stream was read back (None:
    there was no such stream). `keeps` is False where what consumers settled is gone from the
    stream, so that `ends` are of what was left. `connections` is to which node (None: to none) each
    client said that it was connected, and from when on; it says so up to a second late. `blocked`
    is the same for why the broker said that it takes nothing from it (None: it does).
    """

    handed_out: Mapping[int, int]
    final: bool
    faults: tuple[FaultSpan, ...]
    ends: Mapping[int, PartitionEnd]
    load_started_ns: int
    load_ended_ns: int
    due: Mapping[int, int]
    sightings: tuple[Sighting, ...] = ()
    partitions: int = 0
    replicas: Mapping[str, Mapping[int, PartitionEnd]] | None = None
    lives: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    dead_ends: Mapping[int, PartitionEnd] | None = None
    keeps: bool = True
    connections: Mapping[str, tuple[tuple[int, str | None], ...]] = field(default_factory=dict)
    blocked: Mapping[str, tuple[tuple[int, str | None], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Anomaly:
    """One message that is wrong, by its producer and sequence number (-1: no message of ours).

    The engine adds key, times, offsets and the leader at the time from the history.
    """

    kind: str
    producer: int
    sequence: int
    partition: int = -1
    offset: int = -1
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """One measured number, with its unit ("messages", "s", "share") and, if set, its threshold.

    `threshold` is text such as "<= 0" or ">= 0.99"; `ok` is None where there is no threshold.
    """

    name: str
    value: float | None
    unit: str
    threshold: str = ""
    ok: bool | None = None


@dataclass(frozen=True)
class Stage:
    """One leg of the way from a fault to full service.

    `fault` is the FaultSpan's name. `client` saw it, "all" stands for the partition as a whole.
    `name` says what ended it ("new leader chosen", "first acknowledged"). It ended at `ended_ns`,
    at most `within_ns` earlier (the time between two looks); None: not before the load did.
    `merged` names the stages inside it that the broker does not let anybody tell apart.
    """

    fault: str
    partition: int
    client: str
    name: str
    started_ns: int
    ended_ns: int | None
    within_ns: int = 0
    merged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """The answer of one verifier.

    `why` is one sentence for people. `figures` come in the order of importance. `details` are rows
    for people (a failover by partition and client); all rows of a run's finding have the same keys.
    `stages` come in the order of their times for each fault, partition and client.
    `anomalies` lists at most `ANOMALY_LIMIT` messages of a kind; the figures count all of them.
    """

    verdict: Verdict
    why: str
    figures: tuple[Figure, ...] = ()
    details: tuple[Json, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    stages: tuple[Stage, ...] = ()


ANOMALY_LIMIT = 100_000
"""A run that loses more than this names the first so many, and counts the rest."""

State = TypeVar("State")


class Verifier(Protocol[State]):
    """Answers one question in one pass over the records. Its fields are thresholds (`expect:`).

    The states are a monoid: `merge` is associative and commutative with `start()` as its unit, and
    folding two shards apart and merging gives what folding one after the other gives. A shard is
    all batches of a set of clients. `fold` and `merge` may change and return their first argument.
    """

    question: ClassVar[str]
    """In plain words, for the table at the end: "Were acknowledged messages lost?"."""

    tables: ClassVar[frozenset[str]]
    """Which tables it wants to see, of `chaos.history.schema.TABLES`."""

    def start(self) -> State:
        """The state that has seen nothing."""

    def fold(self, state: State, batch: Batch) -> State:
        """Take in one batch."""

    def merge(self, a: State, b: State) -> State:
        """The state that has seen what either has seen."""

    def finish(self, state: State, facts: Facts) -> Finding:
        """The answer. What it cannot know makes it UNKNOWN, with the reason."""
