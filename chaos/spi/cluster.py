"""The cluster: its nodes and links, and the runtimes that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from chaos.spi.words import Json

if TYPE_CHECKING:
    from chaos.spi.broker import Broker


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


@runtime_checkable
class Rationed(Protocol):
    """Ability of a Node: its processor time can be limited. All raise ClusterError."""

    def limit_cpu(self, cores: float) -> None:
        """From now on at most so many cores' time; 0: as much as there is. Of a node that runs."""

    def cpu_limit(self) -> float:
        """What holds now, as the kernel tells it; 0: none, or no process."""

    def cpu_used(self) -> CpuUse:
        """What the process used so far."""


@dataclass(frozen=True)
class CpuUse:
    """Seconds of processor time used, periods in which it wanted more than its limit (throttled),
    and the moment (seconds, monotonic) at which this was true."""

    used_s: float
    throttled: int
    at_s: float


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
    """A TCP end point. `others` are further ports of the same node by name, where clients talk to
    it on several."""

    host: str
    port: int
    others: tuple[tuple[str, int], ...] = ()

    def of(self, name: str) -> Address:
        """Another port of the node. Raises KeyError."""
        return Address(self.host, dict(self.others)[name])

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Port:
    """A port that a node listens on.

    `audience` is who connects: "peers", "clients", "everyone" or "self". The first one of clients
    is a node's address for them, more are its `others`. `ping` is a request of the port's protocol
    that a healthy server answers with at least one byte; probes send it. A port that is listened on
    only now and then has an empty one, and is not probed.

    A system that tells one address to peers and clients alike needs it to be right `everywhere`:
    the loopback's, with a number that the runtime chooses and gives to nobody else. `tied` to
    (another port of the member, n) is a port whose number is always that one's plus n.
    """

    name: str
    number: int
    audience: str
    ping: bytes
    everywhere: bool = False
    tied: tuple[str, int] | None = None

    @property
    def for_peers(self) -> bool:
        """Whether other nodes connect to it."""
        return self.audience in ("peers", "everyone")

    @property
    def for_clients(self) -> bool:
        """Whether clients connect to it; the first such port of a member is its address."""
        return self.audience in ("clients", "everyone")


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
class Revives(Protocol):
    """Ability of a Runtime: what it runs beside the nodes (pods with their proxies) ends when the
    machine or its daemon is restarted, and can be started again. Whoever heals does that first."""

    def revive(self, cluster_id: str) -> Sequence[str]:
        """Start what has ended; descriptions of it. Idempotent. Raises ClusterError."""


@runtime_checkable
class Traced(Protocol):
    """Ability of a Runtime: it tells more of what carries its marks than `leftovers` does, for
    `chaos doctor --residue`."""

    def directories(self) -> Mapping[str, Path]:
        """The directory of each cluster (the parent of the runtime's own) as its marks name it,
        whoever's CHAOS_HOME it is in; id -> directory. What was made on another machine is left
        out."""

    def traces(self, cluster_id: str) -> Sequence[str]:
        """What faults did to this cluster that shows neither in a node's state nor on a link:
        limits, packet rules, mounts; a description of each. Empty: it is free of them."""
