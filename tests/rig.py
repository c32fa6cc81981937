"""Nodes, links and clients that only remember what was done to them, and fail when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from chaos.errors import ClusterError
from chaos.plugin import shape
from chaos.spi import (
    BOTH,
    CLIENTS,
    DOWNSTREAM,
    UPSTREAM,
    Address,
    CpuUse,
    Losses,
    Member,
    NodeState,
    Placement,
    Skew,
    UsedUp,
    View,
    Volume,
    Written,
)


class Hasty(threading.Event):
    """Nobody waits for its time-out."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Trouble:
    """Raises at the chosen moment. Every act on a node or a link has one moment before it and one
    after it, so an error may come before the first, in the middle of, or after all that is done.
    With what is `stuck` nothing can be done at all."""

    def __init__(self) -> None:
        self.moments: list[str] = []
        self.stuck = ""
        self._left: int | None = None
        self._error: Callable[[str], BaseException] = ClusterError

    def arm(self, moments: int, error: Callable[[str], BaseException] = ClusterError) -> None:
        """Raise once, after so many moments more have passed."""
        self._left, self._error = moments, error

    def disarm(self) -> None:
        """Let everything succeed."""
        self._left = None

    def __call__(self, moment: str) -> None:
        self.moments.append(moment)
        if self.stuck and moment.startswith("before ") and moment.endswith(f" {self.stuck}"):
            raise ClusterError(f"as asked, {moment}")
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise self._error(f"as asked, {moment}")


@dataclass
class FakeNode:
    """spi.Node; `deaf` to some acts when it is to look as if they worked."""

    name: str
    trouble: Trouble
    now: NodeState = NodeState.RUNNING
    acts: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)
    mute: bool = False
    """Its process runs, and serves nobody."""
    cores: float = 0.0
    used: float = 0.0
    wants: float = 2.0
    """Cores that it would use."""
    options: tuple[str, ...] = ()
    """Of its Java machine, at the next start."""
    heap: str = ""
    """That it was started with."""

    def java_options(self) -> Sequence[str]:
        self.trouble(f"looking at the options of {self.name}")
        return self.options

    def set_java_options(self, options: Sequence[str]) -> None:
        self.trouble(f"before the options of {self.name}")
        self.options = tuple(options)
        self.trouble(f"after the options of {self.name}")

    def limit_cpu(self, cores: float) -> None:
        self._act("limit_cpu", {})
        if "limit_cpu" not in self.deaf:
            self.cores = cores

    def cpu_limit(self) -> float:
        return self.cores

    def cpu_used(self) -> CpuUse:
        """A second later than the last time."""
        self.used += 1.0
        share = min(self.wants, self.cores or self.wants)
        held = int(self.used) if self.cores and self.wants > self.cores else 0
        return CpuUse(self.used * share, held, self.used)

    def state(self) -> NodeState:
        self.trouble(f"looking at {self.name}")
        return self.now

    def _act(self, what: str, then: Mapping[NodeState, NodeState]) -> None:
        self.trouble(f"before {what} {self.name}")
        self.acts.append(what)
        if what not in self.deaf:
            self.now = then.get(self.now, self.now)
        self.trouble(f"after {what} {self.name}")

    def start(self) -> None:
        if self.now is NodeState.DEAD:
            self.heap = next((each[4:-1] for each in self.options if "-Xmx" in each), "")
        self._act("start", {NodeState.DEAD: NodeState.RUNNING})

    def stop(self, timeout_s: float) -> None:
        self._act("stop", dict.fromkeys(NodeState, NodeState.DEAD))

    def kill(self) -> None:
        self._act("kill", dict.fromkeys(NodeState, NodeState.DEAD))

    def pause(self) -> None:
        self._act("pause", {NodeState.RUNNING: NodeState.PAUSED})

    def resume(self) -> None:
        self._act("resume", {NodeState.PAUSED: NodeState.RUNNING})

    def run(self, argv: Sequence[str], timeout_s: float) -> str:
        self._act("run", {})
        return ""

    def log_tail(self, lines: int) -> list[str]:
        now = datetime.now(UTC).isoformat()
        said = f"[{now}] GC(0) Pause Full (Ergonomics) 9M->9M({self.heap}M) 900.0ms"
        return [said] if self.heap else []


@dataclass
class FakeClient(FakeNode):
    """spi.Client; whatever a producer poisons meets the handler of everybody."""

    everybody: dict[str, FakeClient] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    old: NodeState | None = None

    def supplant(self) -> None:
        self.trouble(f"before supplant {self.name}")
        self.acts.append("supplant")
        if self.now is NodeState.PAUSED and "supplant" not in self.deaf:
            self.old, self.now = self.now, NodeState.RUNNING
        self.trouble(f"after supplant {self.name}")

    def zombie(self) -> NodeState | None:
        self.trouble(f"looking at {self.name}")
        return self.old

    def resume(self) -> None:
        super().resume()
        if self.old is NodeState.PAUSED and "resume" not in self.deaf:
            self.old = NodeState.RUNNING

    def order(self, **what: Any) -> None:
        self.trouble(f"before order {self.name}")
        self.acts.append("order")
        if "order" not in self.deaf:
            self._obey(**what)
        self.trouble(f"after order {self.name}")

    def _obey(self, **what: Any) -> None:
        if "slow_s" in what:
            self.stats |= {"slow_s": what["slow_s"], "took_s": what["slow_s"]}
        if "poison" in what:
            number = int(self.name.rpartition("-")[2])
            poison = what["poison"] and {**what["poison"], "producer": number, "since": 5}
            self.stats["poison"] = poison and {**poison, "acked": 1}
            for client in self.everybody.values():
                client.stats.setdefault("met", {})[str(number)] = 5

    def told(self) -> dict[str, Any]:
        self.trouble(f"looking at {self.name}")
        return self.stats

    @property
    def left_on(self) -> list[str]:
        """What it does out of order."""
        asked = [self.name for name in ("slow_s", "poison") if self.stats.get(name)]
        asked += [f"zombie of {self.name} paused"] if self.old is NodeState.PAUSED else []
        return asked if self.now == "running" else [f"{self.name} {self.now}", *asked]


@dataclass
class FakePackets:
    """spi.Packets; `quiet` ways carry no packets, what is `deaf` drops none."""

    trouble: Trouble
    tables: dict[str, dict[tuple[str, str], float]] = field(default_factory=dict)
    quiet: set[tuple[str, str]] = field(default_factory=set)
    deaf: bool = False
    again: int = 0
    acts: list[str] = field(default_factory=list)
    closings: int = 3

    def lose(self, name: str, ways: Sequence[tuple[str, str]], share: float) -> None:
        for way in ways:
            self.trouble(f"before losing {way}")
            self.acts.append("lose")
            self.tables.setdefault(name, {})[way] = share
            self.trouble(f"after losing {way}")

    def regain(self, name: str) -> None:
        self.trouble(f"before regaining {name}")
        self.acts.append("regain")
        self.tables.pop(name, None)
        self.trouble(f"after regaining {name}")

    def losses(self) -> dict[str, dict[tuple[str, str], Losses]]:
        return {
            name: {way: self._counted(way, share) for way, share in ways.items()}
            for name, ways in self.tables.items()
        }

    def _counted(self, way: tuple[str, str], share: float) -> Losses:
        seen = 0 if way in self.quiet else 1000
        dropped = 0 if self.deaf else round(seen * share)
        closings = self.closings if dropped else 0
        return Losses(seen, dropped, closings, 0 if not self.deaf else self.closings)

    def retransmitted(self, nodes: Sequence[str]) -> int:
        return self.again + (7 if self.tables and not self.deaf else 0)

    def lost(self, way: tuple[str, str]) -> bool:
        return not self.deaf and any(ways.get(way) == 1 for ways in self.tables.values())


@dataclass
class FakeLink:
    """spi.Link with two ports; `leaky` ports let bytes through whatever is imposed, `broken` ones
    never do. `fast` is how many bytes a second it carries by itself; `late` is by how much the next
    probes take longer, one after the other."""

    source: str
    target: str
    trouble: Trouble
    node: FakeNode
    toxics: dict[str, tuple[str, dict[str, float]]] = field(default_factory=dict)
    leaky: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    probes: int = 0
    acts: list[str] = field(default_factory=list)
    streams: dict[str, str] = field(default_factory=dict)
    packets: FakePackets | None = None
    fast: float = 1e7
    base_s: float = 0.0005
    late: list[float] = field(default_factory=list)

    @property
    def way(self) -> str:
        return f"{self.source}->{self.target}"

    def impose(self, name: str, kind: str, stream: str = BOTH, **attributes: float) -> None:
        self.trouble(f"before impose {self.way}")
        self.acts.append("impose")
        self.toxics[name] = kind, attributes
        self.streams[name] = stream
        self.trouble(f"after impose {self.way}")

    def lift(self, name: str) -> None:
        self.trouble(f"before lift {self.way}")
        self.acts.append("lift")
        self.toxics.pop(name, None)
        self.trouble(f"after lift {self.way}")

    def imposed(self) -> frozenset[str]:
        self.trouble(f"looking at {self.way}")
        return frozenset(self.toxics)

    def probe(self, timeout_s: float) -> Mapping[str, float | None]:
        self.probes += 1
        took_s = self._delay_s() + self.base_s + (self.late.pop(0) if self.late else 0.0)
        return {
            port: took_s if self._carries(port) and took_s <= timeout_s else None
            for port in ("inner", "outer")
        }

    def reaches(self, timeout_s: float) -> bool:
        return all(self._carries(port, (UPSTREAM,)) for port in ("inner", "outer"))

    def serves(self, timeout_s: float) -> bool:
        return self.node.now is NodeState.RUNNING and not self.node.mute

    @contextmanager
    def witness(self, timeout_s: float) -> Iterator[FakeLink]:
        if not self._carries("inner"):
            raise ClusterError(f"no connection over {self.way}")
        yield self

    def closed(self, within_s: float) -> bool:
        return "inner" not in self.leaky and any(k == "reset_peer" for k, _ in self.toxics.values())

    def flow(self, size: int, timeout_s: float) -> tuple[float, float]:
        if not self._carries("inner"):
            return 0.0, 0.0
        found = []
        for stream in (UPSTREAM, DOWNSTREAM):
            rates = [
                attributes["rate"] * 1000 for name, (kind, attributes) in self.toxics.items()
                if kind == "bandwidth" and self.streams[name] in (stream, BOTH)
                and "inner" not in self.leaky
            ]  # fmt: skip
            found.append(min([self.fast, *rates]))
        return found[0], found[1]

    def _delay_s(self) -> float:
        if self.leaky:
            return 0.0
        return sum(
            attributes["latency"] / 1000 * (2 if self.streams[name] == BOTH else 1)
            for name, (kind, attributes) in self.toxics.items()
            if kind == "latency"
        )

    def _carries(self, port: str, streams: Sequence[str] = (UPSTREAM, DOWNSTREAM)) -> bool:
        if not self.serves(1) or port in self.broken:
            return False
        ways = (self.source, self.target), (self.target, self.source)
        if self.packets and any(map(self.packets.lost, ways)):
            return False
        cut = any(
            (kind == "reset_peer" or attributes.get("latency", 0) > 10_000)
            and self.streams[name] in (BOTH, *streams)
            for name, (kind, attributes) in self.toxics.items()
        )
        return not cut or port in self.leaky


NAMES = ("fake-1", "fake-2", "fake-3")


class FakeBroker:
    """What an operator can do with a broker; three partitions with one replica on each node, and
    each is led by the wrong one. `racks` are by node; `behind` are never in sync."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble, self.acts = trouble, list[str]()
        self.racks: dict[str, str] = {}
        self.behind: set[str] = set()
        self.deaf = False
        self.places = dict(self.home)
        self.leaders: dict[int, str | None] = {0: "fake-2", 1: "fake-2", 2: "fake-2"}
        self.refused: dict[int, str] = {}
        self.watermarks = dict.fromkeys(NAMES, "0.4")

    home: ClassVar[dict[str, tuple[str, ...]]] = {
        f"s-{number}": (name,) for number, name in enumerate(NAMES)
    }

    def members(self) -> list[Member]:
        return [Member(n, frozenset({"broker"}), (), self.racks.get(n, "")) for n in NAMES]

    def ready(self, clients: Any, timeout_s: float) -> str:
        return ""

    def files(self, stream: Any) -> list[str]:
        return ["*.log"]

    def partition_names(self, stream: Any) -> list[str]:
        return list(self.places)

    def placement(self, clients: Any, names: Sequence[str], timeout_s: float) -> Any:
        self.trouble("looking at replicas")
        return {
            name: Placement(nodes, tuple(node for node in nodes if node not in self.behind))
            for name, nodes in self.places.items()
            if name in names
        }

    def move(self, clients: Any, wanted: Mapping[str, Sequence[str]], timeout_s: float) -> None:
        self.trouble("before move")
        self.acts.append("move")
        if not self.deaf:
            self.places.update({name: tuple(nodes) for name, nodes in wanted.items()})
        self.trouble("after move")

    def preferred(self, view: View) -> dict[int, str]:
        return {number: nodes[0] for number, nodes in view.replicas.items()}

    def elect(self, clients: Any, stream: Any, timeout_s: float) -> dict[int, str]:
        self.trouble("before elect")
        self.acts.append("elect")
        came = {}
        for number, node in self.preferred(self.view()).items():
            if self.leaders[number] != node and not self.deaf:
                came[number] = self.refused.get(number, "")
                self.leaders[number] = self.leaders[number] if came[number] else node
        self.trouble("after elect")
        return came

    def memory_limit(self, node: Any) -> str:
        self.trouble("looking at the memory limit")
        return self.watermarks[node.name]

    def limit_memory(self, node: Any, limit: str) -> None:
        self.trouble(f"before the memory limit of {node.name}")
        self.acts.append("limit memory")
        if not self.deaf:
            self.watermarks[node.name] = limit
        self.trouble("after the memory limit")

    def memory_alarms(self, clients: Any, timeout_s: float) -> list[str]:
        self.trouble("looking at alarms")
        return [name for name, limit in self.watermarks.items() if not limit]

    def view(self) -> View:
        replicas = dict(enumerate(self.places.values()))
        return View(leaders=self.leaders, replicas=replicas, in_sync=replicas)


@dataclass
class FakeCluster:
    """spi.Managed without links."""

    nodes: dict[str, FakeNode]
    trouble: Trouble
    id: str = "fake"
    clients: dict[str, Address] = field(default_factory=dict)
    stream: Any = "stream"
    ended: threading.Event = field(default_factory=Hasty)
    lacks: list[str] = field(default_factory=list)
    """What else is missing, one look after the other."""

    def __post_init__(self) -> None:
        self.broker = FakeBroker(self.trouble)
        self.clients = {name: Address("127.0.0.1", 1) for name in self.nodes}

    def look(self) -> View:
        self.trouble("looking at leaders")
        return self.broker.view()

    def missing(self) -> str:
        """Whoever does not run, then what else it lacks."""
        down = ", ".join(node.name for node in self.nodes.values() if node.now != "running")
        return down or (self.lacks.pop() if self.lacks else "")

    def save_logs(self, directory: Path) -> None:
        """Nothing was logged."""

    @property
    def left_on(self) -> list[str]:
        """Everything that is not as it was at the start, leaders excepted."""
        down = [f"{node.name} {node.now}" for node in self.nodes.values() if node.now != "running"]
        down += [
            f"{node.name} has {node.cores} cores" for node in self.nodes.values() if node.cores
        ]
        down += [
            f"{node.name} squeezed" for node in self.nodes.values() if node.options or node.heap
        ]
        down += [f"{name} has an alarm" for name, at in self.broker.watermarks.items() if not at]
        home = self.broker.home
        moved = [name for name, nodes in self.broker.places.items() if nodes != home[name]]
        return down + moved


@dataclass
class FakeDisk:
    """spi.Disk of 1 GB, on which the broker has one file; `deaf` to some acts, as a node is."""

    name: str
    trouble: Trouble
    node: FakeNode
    volume: Volume = Volume(1 << 30, "ext4")  # noqa: RUF009 - a frozen record
    acts: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    free: int = 1 << 29
    rates: dict[str, int] = field(default_factory=dict)
    error: str = ""
    writes_s: float = 0.0
    """How long a write into the page cache takes."""
    lines: dict[str, bool] = field(default_factory=dict)

    def _unmounted(self) -> None:
        """As the real one waits for it, in vain."""
        if self.node.now != "dead":
            raise ClusterError(f"{self.name} is mounted")

    def _act(self, what: str, then: Callable[[], object]) -> None:
        self.trouble(f"before {what} of {self.name}")
        self.acts.append(what)
        if what not in self.deaf:
            then()
        self.trouble(f"after {what} of {self.name}")

    def space(self) -> tuple[int, int]:
        self.trouble(f"looking at {self.name}")
        return (self.free if "filler" in self.files else 1 << 29), 1 << 30

    def fill(self, free: int) -> None:
        def do() -> None:
            self.files.add("filler")
            self.free = free

        self._act("fill", do)

    def clear(self) -> None:
        self._act("clear", self.files.clear)

    def leftovers(self) -> Sequence[str]:
        return sorted(self.files)

    def write(self, size: int, durable: bool) -> Written:
        self.trouble(f"writing to {self.name}")
        full = "ENOSPC" if size > self.space()[0] else ""
        return Written(size, 0.001, self.error or full)

    def flush(self) -> None:
        self._act("flush", lambda: None)

    def limit(self, rates: Mapping[str, int]) -> None:
        self._act("limit", lambda: self.rates.update(rates))

    def unlimit(self) -> None:
        self._act("unlimit", self.rates.clear)

    def limits(self) -> Mapping[str, Sequence[int]]:
        self.trouble(f"looking at {self.name}")
        return {what: [rate, rate] for what, rate in self.rates.items()}

    def pace(self, what: str, rate: int) -> float:
        self.trouble(f"timing {self.name}")
        return self.rates.get(what, 1e9)

    def sync(self) -> tuple[float, float]:
        self.trouble(f"timing {self.name}")
        return 3 / self.rates.get("write_iops", 1000), self.writes_s

    def fail(self) -> None:
        def do() -> None:
            self.error = "EROFS"
            self.files.add("open")

        self._act("fail", do)

    def failed(self) -> str:
        self.trouble(f"looking at {self.name}")
        return self.error if "open" in self.files else ""

    def corrupt(self, patterns: Sequence[str], share: float, seed: int) -> Sequence[Any]:
        self._unmounted()
        self._act("corrupt", lambda: None)
        after = "old" if "corrupt" in self.deaf else f"new {seed}"
        return [{"file": patterns[0], "bytes": 1, "before": "old", "after": after}]

    def survived(self, mark: str) -> Mapping[str, bool]:
        self._unmounted()
        self.trouble(f"looking at {self.name}")
        return self.lines

    def lose(self, mark: str) -> None:
        if "lose" in self.deaf:
            return
        self.error = "EIO"
        self.files |= {f"durable-{mark}"}
        self.lines = {"durable": True, "volatile": False}

    def mend(self) -> str:
        self._unmounted()

        def do() -> None:
            self.error = ""

        self._act("mend", do)
        return "clean"

    @property
    def left_on(self) -> list[str]:
        rates = [f"{self.name} {what}" for what in self.rates]
        return [*(f"{self.name} {name}" for name in sorted(self.files)), *rates, *(
            [f"{self.name} {self.error}"] if self.error else []
        )]  # fmt: skip


@dataclass
class FakeClocks:
    """spi.Clocks; `deaf` ones cannot be set, a `steady` one does not drift."""

    trouble: Trouble
    skews: dict[str, Skew] = field(default_factory=dict)
    acts: list[str] = field(default_factory=list)
    deaf: bool = False
    steady: bool = False
    since: float = 0.0
    now: Callable[[], float] = time.monotonic

    def set(self, node: str, skew: Skew) -> None:
        self.trouble(f"before setting the clock of {node}")
        self.acts.append("set")
        if not self.deaf:
            self.skews[node], self.since = skew, self.now()
        self.trouble(f"after setting the clock of {node}")

    def read(self, node: str) -> float:
        self.trouble(f"looking at the clock of {node}")
        skew = self.skews.get(node, Skew())
        return skew.offset_s + (0.0 if self.steady else skew.drift * (self.now() - self.since))


@dataclass
class FakeMemory:
    """spi.Memory; a `tough` kernel kills nobody."""

    trouble: Trouble
    nodes: dict[str, FakeNode]
    limits: dict[str, int] = field(default_factory=dict)
    acts: list[str] = field(default_factory=list)
    tough: bool = False

    def use_up(self, node: str) -> UsedUp:
        self.trouble(f"before using up the memory of {node}")
        self.acts.append("use up")
        self.limits[node] = 116
        self.trouble(f"with the memory of {node} limited")
        if not self.tough:
            self.nodes[node].now = NodeState.DEAD
        self.trouble(f"after using up the memory of {node}")
        return UsedUp(100, 116, 0, 0 if self.tough else 1)

    def limit(self, node: str) -> int:
        self.trouble(f"looking at the memory of {node}")
        return 0 if self.nodes[node].now is NodeState.DEAD else self.limits.get(node, 0)

    def lift(self, node: str) -> None:
        self.trouble(f"before lifting the limit of {node}")
        self.acts.append("lift")
        self.limits.pop(node, None)
        self.trouble(f"after lifting the limit of {node}")


@dataclass
class FakeMesh(FakeCluster):
    """The same, spi.Meshed, spi.Lossy, spi.Loaded, spi.Disked,
    spi.Memoried and spi.Clocked."""

    links: dict[tuple[str, str], FakeLink] = field(default_factory=dict)
    load: dict[str, FakeClient] = field(default_factory=dict)
    packets: FakePackets = field(default_factory=lambda: FakePackets(Trouble()))
    disks: dict[str, FakeDisk] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memories = FakeMemory(self.trouble, self.nodes)
        self.clocks = FakeClocks(self.trouble)

    def lose_power(self, nodes: Sequence[str], mark: str) -> float:
        self.trouble("before the power goes")
        for name in nodes:
            self.disks[name].lose(mark)
        self.trouble("after the power went")
        return 0.0

    @property
    def left_on(self) -> list[str]:
        toxics = [f"{link.way} {name}" for link in self.links.values() for name in link.toxics]
        clients = [left for client in self.load.values() for left in client.left_on]
        disks = [left for disk in self.disks.values() for left in disk.left_on]
        off = [f"clock of {name}" for name, skew in self.clocks.skews.items() if skew != Skew()]
        held = [f"{name} has {limit} bytes" for name, limit in self.memories.limits.items()]
        return [*super().left_on, *toxics, *clients, *self.packets.tables, *disks, *held, *off]


def nodes_of(trouble: Trouble) -> dict[str, FakeNode]:
    return {name: FakeNode(name, trouble) for name in NAMES}


def mesh() -> FakeMesh:
    """Three nodes with every link between them, and the clients' links."""
    trouble = Trouble()
    nodes, packets = nodes_of(trouble), FakePackets(trouble)
    links = {
        (source, target): FakeLink(source, target, trouble, nodes[target], packets=packets)
        for source in (*NAMES, CLIENTS)
        for target in NAMES
        if source != target
    }
    load: dict[str, FakeClient] = {}
    for name in NAMES:
        client = FakeClient(name.replace("fake", "client"), trouble, everybody=load)
        load[client.name] = client
    disks = {name: FakeDisk(f"disk of {name}", trouble, nodes[name]) for name in NAMES}
    return FakeMesh(nodes, trouble, links=links, load=load, packets=packets, disks=disks)


def toothless() -> FakeMesh:
    """The same, on which every act seems to work and changes nothing: nobody uses these links, no
    signal arrives, whoever is told something goes on as before."""
    cluster = mesh()
    for one in (*cluster.nodes.values(), *cluster.load.values()):
        one.deaf |= {"start", "stop", "kill", "pause", "resume", "run", "supplant", "order"}
        one.deaf |= {"limit_cpu"}
    for disk in cluster.disks.values():
        disk.deaf |= {"fill", "limit", "fail", "corrupt", "lose"}
    for link in cluster.links.values():
        link.leaky |= {"inner", "outer"}
    cluster.broker.deaf = cluster.packets.deaf = True
    cluster.clocks.deaf = cluster.memories.tough = True
    return cluster


def plain() -> FakeCluster:
    """Three nodes without links."""
    trouble = Trouble()
    return FakeCluster(nodes_of(trouble), trouble)


@dataclass
class FakeRig:
    """spi.Rig; a target is a list of names, or one of `words` that stands for one."""

    cluster: Any
    words: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, target: str) -> tuple[str, ...]:
        return tuple(self.words.get(target, target).split(","))

    def resolve_clients(self, target: str) -> tuple[str, ...]:
        return self.resolve(target.replace("fake", "client"))


SAMPLES = {
    "target": "fake-1,fake-2", "target | null": "fake-1,fake-2",
    "duration": "100ms", "size": "64KiB", "heap": "64MiB", "rate": "10/s", "settings": {}, "int": 1,
    "client": "fake-1,fake-2", "producer": "fake-1,fake-2", "consumer": "fake-1,fake-2",
    "float": 0.5, "bool": False, "str": "text",
}  # fmt: skip
"""A value for a required field, by its name or by the type that `chaos.plugin` tells people."""


def sample(cls: type[Any], **given: object) -> Any:
    """A plug-in whose required fields, whichever they are, have some right value."""
    values = {
        each.key: SAMPLES.get(each.key, SAMPLES.get(each.type, each.type.partition(" | ")[0]))
        for each in shape(cls).parameters()
        if each.default is None or each.key in shape(cls).target_keys
    }
    built = shape(cls).build({**values, **given})
    assert isinstance(built, cls), built
    return built


def aimed(cls: type[Any], *nodes: str) -> Any:
    """A fault that acts on these nodes."""
    return sample(cls, **dict.fromkeys(shape(cls).target_keys, ",".join(nodes)))
