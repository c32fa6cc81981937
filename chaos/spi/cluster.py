"""The cluster: its nodes and links, and the runtimes that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from chaos.spi.words import Json
from chaos.units import Size

if TYPE_CHECKING:
    from chaos.spi.broker import Broker


LEAST_VOLUME = 300 << 20
"""Bytes; mkfs.xfs makes nothing smaller."""


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
        """Start the process again on the same data and addresses; one that was told to stop, by
        whomever, ends first."""

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
class Volume:
    """What the disk is to be that each node gets for its data alone."""

    size: Size = 1 << 30
    """How much it holds, at least 300 MiB (XFS is not made smaller). It takes room on this machine
    only as it is written."""
    filesystem: Literal["xfs", "ext4"] = "xfs"
    """What is on it; only ext4 turns read-only at an error, as `disk.readonly` wants it."""

    def __post_init__(self) -> None:
        if self.size < LEAST_VOLUME:
            raise ValueError(f"size is {self.size}B: at least {LEAST_VOLUME >> 20}MiB are needed")


@dataclass(frozen=True)
class Written:
    """What became of a probe: `error` is the name of an errno (ENOSPC), empty when all went well;
    `size` are the bytes that were taken."""

    size: int
    seconds: float
    error: str


class Disk(Protocol):
    """The disk that holds one node's data and nothing else.

    It can be looked at and acted on whether the node runs or not, unless a method says otherwise.
    All are idempotent and raise ClusterError. Files of ours are in a directory of their own, which
    brokers do not look into.
    """

    @property
    def volume(self) -> Volume:
        """What was asked for."""

    def space(self) -> tuple[int, int]:
        """Bytes that the broker may still write, and bytes in all (statvfs)."""

    def fill(self, free: int) -> None:
        """Leave at most so many bytes free, in a file of ours."""

    def clear(self) -> None:
        """Remove all files of ours."""

    def leftovers(self) -> Sequence[str]:
        """The names of the files of ours that are there."""

    def write(self, size: int, durable: bool) -> Written:
        """Write so much as the broker does, subject to all that it is subject to; with `durable`,
        fsync belongs to it. The node runs, or what holds for it alone is not met."""

    def limit(self, rates: Mapping[str, int]) -> None:
        """Set rates: `read_bps`, `write_bps` (bytes a second), `read_iops`, `write_iops`. Writes
        that wait in the page cache count, too. Of a node that runs."""

    def unlimit(self) -> None:
        """Take all rates off."""

    def limits(self) -> Mapping[str, Sequence[int]]:
        """The rates that are set, in every place where one has to stand (0: it is not)."""

    def fail(self) -> None:
        """Let the file system meet an error, at which it turns read-only under open files."""

    def failed(self) -> str:
        """What a write gets now to a file that was open before `fail`: EROFS; empty: nothing."""

    def corrupt(self, patterns: Sequence[str], share: float, seed: int) -> Sequence[Json]:
        """Flip this share of the bytes of each file that matches, of a node that is dead; `file`,
        `bytes`, and the SHA-256 `before` and `after` of each."""

    def survived(self, mark: str) -> Mapping[str, bool]:
        """Which lines are there that `lose_power` wrote, `durable` and `volatile`; of a node
        that is dead."""

    def mend(self) -> str:
        """Check and repair the file system of a dead node, and have it ready to be used again; what
        the check said."""


@runtime_checkable
class Disked(Protocol):
    """Ability of a Cluster: each node's data is on a disk of its own."""

    @property
    def disks(self) -> Mapping[str, Disk]:
        """By node."""

    def lose_power(self, nodes: Sequence[str], mark: str) -> float:
        """What is not on the disks of these nodes now is gone, on all of them within so many
        seconds; until `mend` they give nothing but errors. Right before, a line with the mark is
        written to each and fsynced, and another is not fsynced."""


@runtime_checkable
class Client(Protocol):
    """One client of the load, a process that sends or receives, through all its incarnations.

    Its states are those of the process that it is now; one that is not connected yet counts as
    `DEAD`. Every method is idempotent and returns when its effect is there; ClusterError otherwise.
    """

    @property
    def name(self) -> str:
        """`producer-0`, `consumer-1`."""

    def state(self) -> NodeState:
        """What its process does now; looked up, never remembered."""

    def start(self) -> None:
        """Put a new, connected incarnation in the place of one that is dead."""

    def kill(self) -> None:
        """End it at once (SIGKILL), paused or not."""

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""

    def resume(self) -> None:
        """Undo `pause`, of the incarnation that was supplanted too."""

    def supplant(self) -> None:
        """Put a new, connected incarnation beside one that stands still and is not dead."""

    def zombie(self) -> NodeState | None:
        """What the process of the supplanted incarnation does now; None: there was none."""

    def order(self, **what: Any) -> None:  # noqa: ANN401 - whatever JSON can say
        """Have it behave differently from now on, as the workers of `chaos.load` know it."""

    def told(self) -> Json:
        """What it said of itself last, at most some 250 ms ago."""


@runtime_checkable
class Loaded(Protocol):
    """Ability of the Cluster that faults get while load is offered."""

    @property
    def load(self) -> Mapping[str, Client]:
        """The clients by name, producers first."""


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
    """One node of a topology, before it has a place: its name, its roles, its ports, and the rack
    that it stands in (empty: in none)."""

    name: str
    roles: frozenset[str]
    ports: tuple[Port, ...]
    rack: str = ""


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


@runtime_checkable
class Foresees(Protocol):
    """Ability of a Runtime: it can tell what it will never run, whatever the machine."""

    def problems(self, broker: Broker) -> Sequence[tuple[str, str]]:
        """What does not go here, as (path in the experiment, what to do); empty: all does."""


@runtime_checkable
class GivesDisks(Protocol):
    """Ability of a Runtime: it can give each node a disk of its own."""

    def with_disks(self, volume: Volume) -> Runtime:
        """A runtime like this one whose new clusters are Disked; its `check` tells why disks cannot
        be had here."""
