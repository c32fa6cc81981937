"""The contracts between the engine and its plug-ins, and the records that cross them.

A plug-in is a frozen dataclass whose fields are its YAML parameters; nothing needs to be inherited.
There are four kinds, each with an entry-point group of its own:

    Broker    (`chaos.brokers`)    what a cluster of this system consists of, and its clients
    Runtime   (`chaos.runtimes`)   where nodes run: local processes, containers, ...
    Fault     (`chaos.faults`)     plans, injects, heals and measures one kind of failure
    Verifier  (`chaos.verifiers`)  answers one question about the history of a run

Plug-ins import from `chaos` only this module, `chaos.errors` and `chaos.timing`. All times are
nanoseconds on the run's clock (`chaos.timing.now_ns`), all names of nodes are the cluster's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from chaos.units import Duration, Rate, Size

__all__ = [
    "CLIENTS", "Address", "Anomaly", "Batch", "Broker", "Caveat", "ChecksClients", "Cluster",
    "Command", "Consumer", "Deliveries", "Duration", "Effect", "Facts", "Fault", "FaultSpan",
    "Figure", "Finding", "Injection", "Java", "Json", "Launch", "Link", "Member", "Meshed",
    "Node", "NodeState", "Observer", "Outcome", "PartitionEnd", "Place", "Port", "Presence",
    "Producer", "Question", "Rate", "Readable", "Rig", "Runtime", "SendSink", "Settings",
    "Size", "Target", "Verdict", "Verifier", "View",
]  # fmt: skip

Json = dict[str, Any]
"""What `json.dumps` can write."""

Settings = dict[str, str | int | float | bool]
"""Settings passed through to a broker, topic or client as they are."""

CLIENTS = "clients"
"""The name of everything outside the cluster, as the source of a link."""


@dataclass(frozen=True)
class TargetMark:
    """Marks a field as naming nodes, so that its value can be checked before anything starts."""


Target = Annotated[str, TargetMark()]
"""Names nodes by role (`leader(0)`, `followers(0)`, `controller`, `one`, `minority`) or by name."""


# ---------------------------------------------------------------------------------- the cluster


class NodeState(StrEnum):
    """Of the broker's process; `DEAD` covers both "ended" and "never started"."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


@runtime_checkable
class Node(Protocol):
    """One broker (or controller, name server, ...) with its process and its data.

    Every method is idempotent and returns when its effect is there. They raise ClusterError.
    """

    @property
    def name(self) -> str:
        """Unique within the cluster."""

    def state(self) -> NodeState:
        """What its process does now; looked up, never remembered."""

    def start(self) -> None:
        """Start the process again on the same data and addresses."""

    def stop(self, timeout_s: float) -> None:
        """End it in order (SIGTERM). Raises DeadlineExceeded when it is still there after that."""

    def kill(self) -> None:
        """End it at once (SIGKILL), paused or not."""

    def pause(self) -> None:
        """Freeze it: the kernel still answers for its sockets, the process does nothing."""

    def resume(self) -> None:
        """Undo `pause`; nothing happens to a node that is not paused."""

    def run(self, argv: Sequence[str], timeout_s: float) -> str:
        """Run a program where the node runs and return its standard output."""

    def log_tail(self, lines: int) -> list[str]:
        """The last lines that the broker wrote."""


class Cluster(Protocol):
    """The nodes of one started cluster."""

    @property
    def id(self) -> str:
        """Unique on this machine; everything that belongs to the cluster is marked with it."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """By name, in the order of the broker's members."""

    @property
    def clients(self) -> Mapping[str, Address]:
        """Where a client on this machine reaches each node (absent: clients do not talk to it)."""

    def save_logs(self, directory: Path) -> None:
        """Write what each broker logged so far to `directory/<node>.log`."""


class Link(Protocol):
    """The way of the bytes from `source`, who connects, to `target`; the answers use it as well.

    What is imposed on a link has a name, so that each fault lifts only its own. `impose` replaces
    what has the same name; `lift` of a name that is not there does nothing.
    """

    @property
    def source(self) -> str:
        """A node, or CLIENTS."""

    @property
    def target(self) -> str:
        """A node."""

    def impose(self, name: str, kind: str, **attributes: float) -> None:
        """Put a Toxiproxy toxic of this kind on both directions of the link.

        Kinds and attributes are Toxiproxy's (`latency`: latency, jitter in ms; `bandwidth`: rate in
        KB/s; ...), see its README, section "Toxics".
        """

    def lift(self, name: str) -> None:
        """Take off what `impose` put there under this name."""

    def imposed(self) -> frozenset[str]:
        """The names of all that is imposed now, as the proxy itself reports it."""

    def probe(self, timeout_s: float) -> Mapping[str, float | None]:
        """Port name -> seconds until a ping in that port's protocol was answered through the link;
        None: no byte came back."""


@runtime_checkable
class Meshed(Protocol):
    """Ability of a Cluster: each directed link can be disturbed on its own."""

    @property
    def links(self) -> Mapping[tuple[str, str], Link]:
        """By (source, target): every ordered pair of nodes, and (CLIENTS, node)."""


@dataclass(frozen=True)
class Address:
    """A TCP end point."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Port:
    """A port that a node listens on.

    `audience` is who connects: "peers", "clients" or "self". `ping` is a request of the port's
    protocol that a healthy server answers with at least one byte; probes send it.
    """

    name: str
    number: int
    audience: str
    ping: bytes


@dataclass(frozen=True)
class Member:
    """One node of a topology, before it has a place: its name, its roles, its ports."""

    name: str
    roles: frozenset[str]
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Place:
    """Where one member will run, as its configuration must see it.

    `listen` maps its own port names to what it binds to; `reach` maps node -> port name -> the
    address by which *this* node reaches that node (its own included); `client` is what clients on
    this machine connect to, for every node. Paths are those that the broker's process sees.
    """

    cluster_id: str
    member: Member
    data_dir: str
    config_dir: str
    listen: Mapping[str, Address]
    reach: Mapping[str, Mapping[str, Address]]
    client: Mapping[str, Address]


@dataclass(frozen=True)
class Java:
    """A Java program out of Maven artifacts. `lock` is the path of a file that pins its jars, each
    with its SHA-256 (see `chaos_adapters.runtimes.jars`)."""

    lock: str
    main: str
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A plain program by its argument list."""

    argv: tuple[str, ...]


@dataclass(frozen=True)
class Launch:
    """What it takes to start one member at its place.

    `files` go to the place's `config_dir`, by relative path. A container image brings its program
    and is told by files and `environment`; a runtime of plain processes runs `prepare` once (before
    the first start) and then `program`.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[Java | Command, ...] = ()
    program: Java | Command | None = None


class Runtime(Protocol):
    """A place where clusters run. `directory` belongs to one cluster and outlives this process.

    Everything that is started carries the cluster's id as a mark, before it is recorded anywhere,
    so that `remove` finds it after a crash at any moment.
    """

    meshed: ClassVar[bool]
    """Whether its clusters are Meshed, known before one is started."""

    def check(self, broker: Broker) -> Sequence[str]:
        """Why this broker cannot run here now, each with what would help; empty: it can."""

    def start(self, cluster_id: str, broker: Broker, directory: Path) -> Cluster:
        """Start all members and return without waiting for readiness. Raises ClusterError."""

    def attach(self, broker: Broker, directory: Path) -> Cluster:
        """Find again what `start` started there, whole or in part. Raises ClusterError."""

    def remove(self, cluster_id: str, directory: Path) -> None:
        """Remove everything marked with this id; idempotent, works on a half-started cluster."""

    def leftovers(self) -> Mapping[str, Sequence[str]]:
        """All that carries any cluster's mark on this machine: id -> descriptions."""


# ----------------------------------------------------------------------------------- the broker


@dataclass(frozen=True)
class View:
    """What the cluster says of itself at one moment; None and empty mean "it does not say".

    `leaders`, `replicas` and `in_sync` are by partition (or queue) number of the run's stream.
    """

    controller: str | None = None
    leaders: Mapping[int, str | None] = field(default_factory=dict)
    replicas: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    in_sync: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


class Observer(Protocol):
    """Looks at a cluster from outside, cheaply enough to be asked several times a second."""

    def observe(self, timeout_s: float) -> View:
        """One look. Raises ClusterError when no node answers in time."""

    def close(self) -> None:
        """Give the connections back."""


class Outcome(IntEnum):
    """What is known of a send when it is over."""

    OK = 1
    REFUSED = 2
    """Definite failure: it is surely not stored and must never appear."""
    INDETERMINATE = 3
    """A time-out, a lost connection: it may appear or not, both are right."""


class SendSink(Protocol):
    """Takes the outcome of each send, once, while `poll` or `close` is called."""

    def acknowledged(self, ack: tuple[int, int, int, int], /) -> None:
        """It is stored, says the broker: (sequence, partition, offset, done_ns).

        One tuple, so that a recorder may pass its list's `append`: nothing is called as often.
        """

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        """It was refused or its fate is unknown; `partition` is -1 where none was chosen yet."""


class Producer(Protocol):
    """Sends without waiting for acknowledgements. Raises ClusterError when it cannot go on."""

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """Hand over messages number `first` and following; how many were taken, in order (fewer
        than given when the client has no room now)."""

    def poll(self, timeout_s: float) -> None:
        """Let the client report outcomes, for up to so long; called between sends and when idle."""

    def close(self, timeout_s: float) -> None:
        """Wait for open sends, then disconnect; what is still open then is never reported."""


@dataclass(frozen=True)
class Deliveries:
    """Messages as they came out of the broker, in order; all columns have one length."""

    bodies: Sequence[bytes]
    partitions: Sequence[int]
    offsets: Sequence[int]
    received_ns: int
    redelivered: Sequence[bool] | None = None


class Consumer(Protocol):
    """One member of a consumer group."""

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """The next messages; None: none came in time. Raises ClusterError if it cannot go on."""

    def settle(self) -> None:
        """Everything received so far has been recorded: acknowledge it / store its offsets."""

    def close(self) -> None:
        """Settle durably and leave the group."""


@dataclass(frozen=True)
class PartitionEnd:
    """How far a partition was read back: all of [first, end) was read when `read` reached `end`."""

    partition: int
    first: int
    end: int
    read: int


class Readable(Protocol):
    """Ability of a Broker: everything stored can be read again, independently of consumers."""

    def stored(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        timeout_s: float,
    ) -> Iterator[Deliveries | PartitionEnd]:
        """All that the stream holds, then one PartitionEnd for each partition."""


@runtime_checkable
class ChecksClients(Protocol):
    """Ability of a Broker: client settings can be checked before anything starts."""

    def client_problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """What is wrong with them, as (path in the experiment, what to do); empty: nothing is."""


class Question(StrEnum):
    """What a verifier answers, and what settings can promise."""

    LOSS = "loss"
    DUPLICATION = "duplication"
    PHANTOMS = "phantoms"
    FAILOVER = "failover"
    AVAILABILITY = "availability"


@dataclass(frozen=True)
class Caveat:
    """A setting under which the broker's documentation does *not* promise a good answer."""

    question: str
    setting: str
    why: str


class Broker(Protocol):
    """A message system: what its clusters consist of, and its clients.

    `stream_type` is a frozen dataclass whose fields are the experiment's `stream:` section; its
    attribute `partitions` is how many partitions or queues the stream has, numbered from 0.
    """

    stream_type: ClassVar[type]
    roles: ClassVar[Mapping[str, bool]]
    """Roles that a target may name -> whether the role takes a partition: `{"leader": True}`."""

    def problems(self, stream: Any) -> Sequence[tuple[str, str]]:  # noqa: ANN401
        """What does not fit together, as (path in the experiment, what to do); empty: all fits."""

    def members(self) -> Sequence[Member]:
        """The nodes that make up the cluster."""

    def launch(self, place: Place) -> Launch:
        """How to start one member, now that all addresses are known."""

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """What is still missing before the cluster can be used; empty when it is ready."""

    def prepare(self, clients: Mapping[str, Address], stream: Any, timeout_s: float) -> None:  # noqa: ANN401
        """Create the stream and wait until all its replicas are in sync. Raises ClusterError."""

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Make a kept cluster as good as new and prove it. Raises ClusterError when it is not."""

    def observer(self, clients: Mapping[str, Address], stream: Any) -> Observer:  # noqa: ANN401
        """A new observer of the stream."""

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        """The nodes that have a role now; empty when nobody has it."""

    def producer(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        settings: Settings,
        sink: SendSink,
    ) -> Producer:
        """A new, connected producer."""

    def consumer(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        settings: Settings,
        group: str,
    ) -> Consumer:
        """A new member of the group, which starts at the beginning of the stream."""

    def caveats(self, stream: Any, producer: Settings, consumer: Settings) -> Sequence[Caveat]:  # noqa: ANN401
        """Why these settings do not promise what users want; empty: they are safe."""


# ------------------------------------------------------------------------------------ the faults


@dataclass(frozen=True)
class Injection:
    """What a fault decided to do, complete enough to undo it from the disk.

    `nodes` are the nodes that it acts on; `data` is whatever else heal needs.
    """

    nodes: tuple[str, ...]
    data: Json = field(default_factory=dict)


class Presence(StrEnum):
    """How much of a fault is there."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True)
class Effect:
    """What was measured of a fault. `figures` are shown to people: `{"unanswered links": 4}`."""

    presence: Presence
    figures: Json = field(default_factory=dict)


class Rig(Protocol):
    """What a fault may look at when it plans."""

    @property
    def cluster(self) -> Cluster:
        """The cluster to act on."""

    def resolve(self, target: str) -> tuple[str, ...]:
        """The names of the nodes that a target meant before the first fault. Raises FaultError."""


class Fault(Protocol):
    """One kind of failure. The engine calls plan, inject, in_effect, heal, in_effect.

    `claims` names what it takes hold of on each of its nodes ("process", "network", "disk"): two
    faults that overlap in time may not claim the same thing of the same node.
    """

    claims: ClassVar[str]
    needs_links: ClassVar[bool]
    """Whether it acts on links, and so needs a runtime whose clusters are Meshed."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """Look, decide, change nothing. Raises FaultError when it cannot be done."""

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Do it. Raises ClusterError or FaultError."""

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Measure it: FULL while it is wholly on, NONE when it is wholly gone."""

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Undo it; idempotent, and right after none, half or all of `inject`."""


# ---------------------------------------------------------------------------------- the verdict


class Verdict(StrEnum):
    """PASS, FAIL or UNKNOWN; the worst of several is FAIL, then UNKNOWN."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


Column = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """A piece of one client's records as equally long columns, named in `chaos.history.schema`.

    `table` is "sends", "deliveries" or "stored"; `producer` is the sender's number in "sends", else
    -1. Batches of one client come in the order in which it wrote them.
    """

    table: str
    client: str
    producer: int
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


@dataclass(frozen=True)
class FaultSpan:
    """One fault of a run, on the run's clock.

    It counts as on from `started_ns` (before the attempt) until `ended_ns` (healed, proved gone;
    None: it never was). `proved` is whether its effect was measured while it was on.
    """

    name: str
    fault: str
    nodes: tuple[str, ...]
    started_ns: int
    active_ns: int | None
    ended_ns: int | None
    proved: bool


@dataclass(frozen=True)
class Facts:
    """What a verifier may know of a run besides the records.

    Producers go by number. `handed_out` gives for each how many sequence numbers it may have used:
    a message of it with a number from this on was never sent.
    `final` is False when the run was cut off, so that the last moments are not on record.
    `ends` is how far each partition was read back (empty: not read back). Load was offered from
    `load_started_ns` until `load_ended_ns`; the time before the first fault is the baseline.
    `due` gives for each producer how many messages were due in that time.
    """

    handed_out: Mapping[int, int]
    final: bool
    faults: tuple[FaultSpan, ...]
    ends: Mapping[int, PartitionEnd]
    load_started_ns: int
    load_ended_ns: int
    due: Mapping[int, int]


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
class Finding:
    """The answer of one verifier.

    `why` is one sentence for people. `figures` come in the order of importance. `details` are rows
    for people (a failover by partition and client); all rows of a run's finding have the same keys.
    `anomalies` lists at most `ANOMALY_LIMIT` messages of a kind; the figures count all of them.
    """

    verdict: Verdict
    why: str
    figures: tuple[Figure, ...] = ()
    details: tuple[Json, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()


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
    """Which tables it wants to see: "sends", "deliveries", "stored"."""

    def start(self) -> State:
        """The state that has seen nothing."""

    def fold(self, state: State, batch: Batch) -> State:
        """Take in one batch."""

    def merge(self, a: State, b: State) -> State:
        """The state that has seen what either has seen."""

    def finish(self, state: State, facts: Facts) -> Finding:
        """The answer. What it cannot know makes it UNKNOWN, with the reason."""
