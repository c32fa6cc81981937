"""Nodes, links and clients that only remember what was done to them, and fail when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from chaos.errors import ClusterError
from chaos.plugin import shape
from chaos.spi import CLIENTS, Address, Member, NodeState, Placement, View


class Trouble:
    """Raises at the chosen moment. Every act on a node or a link has one moment before it and one
    after it, so an error may come before the first, in the middle of, or after all that is done."""

    def __init__(self) -> None:
        self.moments: list[str] = []
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
        return []


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
class FakeLink:
    """spi.Link with two ports; `leaky` ports let bytes through whatever is imposed, `broken` ones
    never do."""

    source: str
    target: str
    trouble: Trouble
    node: FakeNode
    toxics: dict[str, tuple[str, dict[str, float]]] = field(default_factory=dict)
    leaky: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    probes: int = 0
    acts: list[str] = field(default_factory=list)

    @property
    def way(self) -> str:
        return f"{self.source}->{self.target}"

    def impose(self, name: str, kind: str, **attributes: float) -> None:
        self.trouble(f"before impose {self.way}")
        self.acts.append("impose")
        self.toxics[name] = kind, attributes
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
        return {port: 0.001 if self._carries(port) else None for port in ("inner", "outer")}

    def _carries(self, port: str) -> bool:
        if self.node.now is not NodeState.RUNNING or port in self.broken:
            return False
        slow = any(attributes.get("latency", 0) > 1000 for _, attributes in self.toxics.values())
        return not slow or port in self.leaky


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

    home: ClassVar[dict[str, tuple[str, ...]]] = {
        f"s-{number}": (name,) for number, name in enumerate(NAMES)
    }

    def members(self) -> list[Member]:
        return [Member(n, frozenset({"broker"}), (), self.racks.get(n, "")) for n in NAMES]

    def ready(self, clients: Any, timeout_s: float) -> str:
        return ""

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
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.broker = FakeBroker(self.trouble)
        self.clients = {name: Address("127.0.0.1", 1) for name in self.nodes}

    def look(self) -> View:
        self.trouble("looking at leaders")
        return self.broker.view()

    def missing(self) -> str:
        """Whoever does not run."""
        return ", ".join(node.name for node in self.nodes.values() if node.now != "running")

    def save_logs(self, directory: Path) -> None:
        """Nothing was logged."""

    @property
    def left_on(self) -> list[str]:
        """Everything that is not as it was at the start, leaders excepted."""
        down = [f"{node.name} {node.now}" for node in self.nodes.values() if node.now != "running"]
        home = self.broker.home
        moved = [name for name, nodes in self.broker.places.items() if nodes != home[name]]
        return down + moved


@dataclass
class FakeMesh(FakeCluster):
    """The same, spi.Meshed and spi.Loaded."""

    links: dict[tuple[str, str], FakeLink] = field(default_factory=dict)
    load: dict[str, FakeClient] = field(default_factory=dict)

    @property
    def left_on(self) -> list[str]:
        toxics = [f"{link.way} {name}" for link in self.links.values() for name in link.toxics]
        clients = [left for client in self.load.values() for left in client.left_on]
        return [*super().left_on, *toxics, *clients]


def nodes_of(trouble: Trouble) -> dict[str, FakeNode]:
    return {name: FakeNode(name, trouble) for name in NAMES}


def mesh() -> FakeMesh:
    """Three nodes with every link between them, and the clients' links."""
    trouble = Trouble()
    nodes = nodes_of(trouble)
    links = {
        (source, target): FakeLink(source, target, trouble, nodes[target])
        for source in (*NAMES, CLIENTS)
        for target in NAMES
        if source != target
    }
    load: dict[str, FakeClient] = {}
    for name in NAMES:
        client = FakeClient(name.replace("fake", "client"), trouble, everybody=load)
        load[client.name] = client
    return FakeMesh(nodes, trouble, links=links, load=load)


def toothless() -> FakeMesh:
    """The same, on which every act seems to work and changes nothing: nobody uses these links, no
    signal arrives, whoever is told something goes on as before."""
    cluster = mesh()
    for one in (*cluster.nodes.values(), *cluster.load.values()):
        one.deaf |= {"start", "stop", "kill", "pause", "resume", "run", "supplant", "order"}
    for link in cluster.links.values():
        link.leaky |= {"inner", "outer"}
    cluster.broker.deaf = True
    return cluster


def plain() -> FakeCluster:
    """Three nodes without links."""
    trouble = Trouble()
    return FakeCluster(nodes_of(trouble), trouble)


@dataclass
class FakeRig:
    """spi.Rig; a target is a list of names."""

    cluster: Any

    def resolve(self, target: str) -> tuple[str, ...]:
        return tuple(target.split(","))

    def resolve_clients(self, target: str) -> tuple[str, ...]:
        return self.resolve(target.replace("fake", "client"))


SAMPLES = {
    "target": "fake-1,fake-2", "duration": "100ms", "size": "64KiB", "rate": "10/s",
    "settings": {}, "int": 1,
    "client": "fake-1,fake-2", "producer": "fake-1,fake-2", "consumer": "fake-1,fake-2",
    "float": 0.5, "bool": False, "str": "text",
}  # fmt: skip
"""A value for a required field, by the type that `chaos.plugin` tells people."""


def sample(cls: type[Any], **given: object) -> Any:
    """A plug-in whose required fields, whichever they are, have some right value."""
    values = {
        each.key: SAMPLES.get(each.type, each.type.partition(" | ")[0])
        for each in shape(cls).parameters()
        if each.default is None
    }
    built = shape(cls).build({**values, **given})
    assert isinstance(built, cls), built
    return built


def aimed(cls: type[Any], *nodes: str) -> Any:
    """A fault that acts on these nodes."""
    return sample(cls, **dict.fromkeys(shape(cls).target_keys, ",".join(nodes)))
