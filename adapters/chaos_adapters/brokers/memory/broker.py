"""The plug-in: see the package for what this broker is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar
from zlib import crc32

from chaos.errors import ClusterError, DeadlineExceeded, UsageError
from chaos.spi import (
    Address,
    Caveat,
    Command,
    Deliveries,
    Duration,
    Held,
    Launch,
    Member,
    PartitionEnd,
    Place,
    Port,
    Question,
    SendSink,
    Settings,
    View,
)
from chaos.timing import now_ns
from chaos_adapters.brokers.memory.client import ask, command
from chaos_adapters.brokers.memory.consumer import MemoryConsumer
from chaos_adapters.brokers.memory.mischief import Mischief
from chaos_adapters.brokers.memory.observer import PING, MemoryObserver
from chaos_adapters.brokers.memory.producer import MemoryProducer
from chaos_adapters.brokers.memory.wire import Head, split

PORT = 7300
READ_MESSAGES = 10_000
PRODUCER_SETTINGS: Settings = {"timeout_s": 5.0, "most_open": 100_000}
CONSUMER_SETTINGS: Settings = {"most_fetched": 1000}

_SAY_WITHIN_S = 10.0
"""How long a node may take to say how much it has: it is read when all nodes serve."""

_SOURCE_ROOT = Path(__file__).parents[3]
_MISCHIEF = tuple(field.name for field in fields(Mischief))
_WHY: Mapping[str, tuple[str, Sequence[Question]]] = {
    "refuse": ("some messages are refused", [Question.AVAILABILITY]),
    "ghost": ("some messages are refused and yet stored", [Question.PHANTOMS]),
    "lose": ("some messages are acknowledged and not stored", [Question.LOSS, Question.DIVERGENCE]),
    "silent": ("some messages are stored and never answered", [Question.AVAILABILITY]),
    "repeat": ("some messages are stored twice", [Question.DUPLICATION]),
    "reorder": ("some messages change places with the next one", [Question.ORDERING]),
    "invent": ("some messages that nobody sent are added", [Question.PHANTOMS]),
    "damage": ("some messages are stored with a wrong byte", [Question.LOSS, Question.PHANTOMS]),
    "redeliver": ("some messages are delivered twice", [Question.DUPLICATION]),
    "diverge": ("some messages are copied with a wrong byte", [Question.DIVERGENCE]),
}
_FORGOTTEN = Question.LOSS, Question.DIVERGENCE


@dataclass(frozen=True)
class MemoryStream:
    """The stream of a run."""

    partitions: int = 3
    """Partition p is led by node number p modulo the number of nodes."""
    replicas: int = 1
    """How many nodes have each partition: the one that leads it and the next ones, which copy it
    and never lead."""
    name: str = "chaos"
    """Set by each run."""


@dataclass(frozen=True)
class Memory:
    """A broker in plain Python for tests: it is up at once, and wrong only on request.

    A partition is unavailable while its node is down. What is acknowledged is in the journal of the
    node and survives `kill -9`, unless `durable` is off. What is to go wrong is counted by each
    node, over all streams, since it was started or reset.
    """

    nodes: int = 3
    durable: bool = True
    """Off: a node that ends forgets its messages."""
    session_timeout: Duration = 0.5
    """How long a node may be silent until the observer takes it for down."""
    refuse: int = 0
    """Refuse every n-th message (0, here and below: none)."""
    ghost: int = 0
    """Refuse every n-th message and yet store it."""
    lose: int = 0
    """Acknowledge every n-th message and do not store it."""
    silent: int = 0
    """Store every n-th message and never answer it."""
    repeat: int = 0
    """Store every n-th message twice."""
    reorder: int = 0
    """Have every n-th message change places with the next one of its partition."""
    invent: int = 0
    """Store one more message, which nobody sent, behind every n-th."""
    damage: int = 0
    """Store every n-th message with one wrong byte."""
    redeliver: int = 0
    """Deliver every n-th message twice, the second time marked as redelivered."""

    diverge: int = 0
    """Have followers copy every n-th message of a partition with one wrong byte."""

    stream_type: ClassVar[type] = MemoryStream
    roles: ClassVar[Mapping[str, bool]] = {"leader": True, "controller": False}

    def __post_init__(self) -> None:
        for name, least in {"nodes": 1, **dict.fromkeys(_MISCHIEF, 0)}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: at least {least} is needed")
        if self.session_timeout <= 0:
            raise ValueError(f"session_timeout is {self.session_timeout:g} s: needs more than 0s")

    def problems(self, stream: MemoryStream) -> Sequence[tuple[str, str]]:
        """More replicas than nodes can never be."""
        if 1 <= stream.replicas <= self.nodes:
            return ()
        what = f"{stream.replicas} replicas do not fit on {self.nodes} nodes"
        return [("stream.replicas", f"{what}: 1 to {self.nodes}")]

    def members(self) -> Sequence[Member]:
        """memory-1, memory-2, ...; each has one port, for clients."""
        port = Port("client", PORT, "clients", PING)
        roles = frozenset({"broker"})
        return [Member(f"memory-{number}", roles, (port,)) for number in range(1, self.nodes + 1)]

    def launch(self, place: Place) -> Launch:
        """A Python process that needs nothing but this package."""
        listen = place.listen["client"]
        config = {
            "name": place.member.name,
            "listen": str(listen),
            "data_dir": place.data_dir,
            "nodes": {node: str(at["client"]) for node, at in place.reach.items()},
            "durable": self.durable,
            "mischief": {name: getattr(self, name) for name in _MISCHIEF},
        }
        server = "chaos_adapters.brokers.memory.server"
        # Without `site` (-S) a node starts in half the time and no directory of the user counts.
        argv = (sys.executable, "-S", "-P", "-m", server, f"{place.config_dir}/node.json")
        return Launch(
            files={"node.json": json.dumps(config, indent=2) + "\n"},
            environment={"PYTHONPATH": str(_SOURCE_ROOT)},
            program=Command(argv),
        )

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """Which nodes do not answer."""
        answers = ask(clients, _to_all(clients, {"op": "ping"}), timeout_s)
        missing = [node for node in clients if node not in answers]
        return f"no answer from {', '.join(missing)}" if missing else ""

    def prepare(
        self, clients: Mapping[str, Address], stream: MemoryStream, timeout_s: float
    ) -> None:
        """Create the stream. Raises ClusterError when it is not empty or a node does not answer."""
        requests: dict[str, Head] = {
            node: {"op": "create", "stream": stream.name, "partitions": [], "follows": {}}
            for node in clients
        }
        for partition, node in enumerate(self._owners(stream)):
            requests[node]["partitions"].append(partition)
            for follower in self._followers(stream)[partition]:
                requests[follower]["follows"][str(partition)] = node
        what = f"stream {stream.name!r} on all nodes"
        answers = command(clients, requests, what, timeout_s)
        messages = sum(head["messages"] for head, _ in answers.values())
        if messages:
            raise ClusterError(f"stream {stream.name!r} has {messages} messages already: reset it")

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Drop all streams and look whether they are gone."""
        command(clients, _to_all(clients, {"op": "drop"}), "all streams dropped", timeout_s)
        answers = command(
            clients, _to_all(clients, {"op": "streams"}), "a look at streams", timeout_s
        )
        left = {node: head["streams"] for node, (head, _) in answers.items() if head["streams"]}
        if left:
            raise ClusterError(f"streams are still there after a reset: {left}")

    def observer(self, clients: Mapping[str, Address], stream: MemoryStream) -> MemoryObserver:
        """Its leaders are the nodes that answer, its controller is the first of them."""
        owners, followers = self._owners(stream), self._followers(stream)
        return MemoryObserver(clients, owners, self.session_timeout, followers)

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        """The leader of a partition, or the controller."""
        node = view.controller if role == "controller" else None
        if role == "leader" and partition is not None:
            node = view.leaders.get(partition)
        return (node,) if node is not None else ()

    def producer(
        self,
        clients: Mapping[str, Address],
        stream: MemoryStream,
        settings: Settings,
        sink: SendSink,
    ) -> MemoryProducer:
        """Settings: `timeout_s`, how long a send may take; `most_open`, how many at once."""
        known = _known(settings, PRODUCER_SETTINGS)
        return MemoryProducer(
            clients, stream.name, self._owners(stream), sink,
            timeout_s=float(known["timeout_s"]), most_open=int(known["most_open"]),
        )  # fmt: skip

    def consumer(
        self,
        clients: Mapping[str, Address],
        stream: MemoryStream,
        settings: Settings,
        group: str,
    ) -> MemoryConsumer:
        """Settings: `most_fetched`, how many messages a node sends at once."""
        known = _known(settings, CONSUMER_SETTINGS)
        most_fetched = int(known["most_fetched"])
        return MemoryConsumer(clients, stream.name, self._owners(stream), group, most_fetched)

    def caveats(
        self,
        stream: MemoryStream,  # noqa: ARG002 - no stream of this broker promises less than another
        producer: Settings,  # noqa: ARG002
        consumer: Settings,  # noqa: ARG002
    ) -> Sequence[Caveat]:
        """All the mischief that was asked for."""
        found = [
            Caveat(question, f"{name}={getattr(self, name)}", why)
            for name, (why, questions) in _WHY.items()
            if getattr(self, name)
            for question in questions
        ]
        if not self.durable:
            why = "a node that is killed forgets its messages, and gives their positions again"
            found += [Caveat(each, "durable=false", why) for each in _FORGOTTEN]
        return found

    def stored(
        self, clients: Mapping[str, Address], stream: MemoryStream, timeout_s: float
    ) -> Iterator[Deliveries | PartitionEnd]:
        """Everything that was stored when it started.

        Raises DeadlineExceeded at the end when a node did not say how much it has.
        """
        deadline = time.monotonic() + timeout_s
        look = _look(clients, clients, timeout_s)
        ends = []
        for node, (head, _) in look.items():
            for number, end in head["streams"].get(stream.name, {}).items():
                read = 0
                for deliveries in _read(clients, node, stream.name, int(number), end, deadline):
                    yield deliveries
                    read += len(deliveries.bodies)
                ends.append(PartitionEnd(int(number), 0, end, read))
        yield from ends
        if len(ends) < stream.partitions:
            silent = ", ".join(node for node in clients if node not in look)
            waited_s = _patience_s(timeout_s)
            raise DeadlineExceeded("reading the stream back", waited_s, f"no answer from {silent}")

    def held(
        self, node: str, clients: Mapping[str, Address], stream: MemoryStream, timeout_s: float
    ) -> Iterator[Held | PartitionEnd]:
        """Every message is a piece of its own. A copy is waited for until it is as long as what it
        is a copy of was when this began."""
        deadline = time.monotonic() + timeout_s
        followers = self._followers(stream)
        owners = {
            number: owner
            for number, owner in enumerate(self._owners(stream))
            if node in (owner, *followers[number])
        }
        look = _look(clients, owners.values(), timeout_s)
        for number, owner in owners.items():
            if owner not in look:
                continue
            end, read = look[owner][0]["streams"].get(stream.name, {}).get(str(number), 0), 0
            while read < end and time.monotonic() < deadline:
                for found in _read(clients, node, stream.name, number, end, deadline, "held", read):
                    yield _pieces(number, found)
                    read += len(found.bodies)
            yield PartitionEnd(number, 0, end, read)

    def _followers(self, stream: MemoryStream) -> Sequence[Sequence[str]]:
        """The nodes that copy each partition."""
        nodes = [member.name for member in self.members()]
        return [
            [nodes[(partition + step) % len(nodes)] for step in range(1, stream.replicas)]
            for partition in range(stream.partitions)
        ]

    def _owners(self, stream: MemoryStream) -> Sequence[str]:
        """The node of each partition."""
        nodes = [member.name for member in self.members()]
        return [nodes[partition % len(nodes)] for partition in range(stream.partitions)]


def _to_all(clients: Mapping[str, Address], request: Head) -> dict[str, Head]:
    return dict.fromkeys(clients, request)


def _look(
    clients: Mapping[str, Address], nodes: Iterable[str], timeout_s: float
) -> Mapping[str, tuple[Head, bytes]]:
    """What nodes say about their streams; one that is down is not in it."""
    requests: dict[str, Head] = {name: {"op": "streams"} for name in nodes}
    return ask(clients, requests, _patience_s(timeout_s))


def _patience_s(timeout_s: float) -> float:
    """A node that is down may not use up the time of the others."""
    return min(_SAY_WITHIN_S, timeout_s / 2)


def _read(
    clients: Mapping[str, Address],
    node: str,
    stream: str,
    partition: int,
    end: int,
    deadline: float,
    op: str = "read",
    read: int = 0,
) -> Iterator[Deliveries]:
    """One partition up to an end, or as far as the time or what is there goes."""
    while read < end:
        head: Head = {
            "op": op, "stream": stream, "partition": partition,
            "from": read, "most": min(READ_MESSAGES, end - read),
        }  # fmt: skip
        answer = ask(clients, {node: head}, deadline - time.monotonic()).get(node)
        if answer is None or not answer[0]["lengths"]:
            return
        bodies = split(answer[1], answer[0]["lengths"])
        offsets = range(read, read + len(bodies))
        yield Deliveries(bodies, [partition] * len(bodies), offsets, now_ns())
        read += len(bodies)


def _pieces(partition: int, found: Deliveries) -> Held:
    digests = [crc32(body) for body in found.bodies]
    offsets = found.offsets
    return Held(partition, offsets, offsets, digests, [0] * len(offsets), found.bodies)


def _known(settings: Settings, defaults: Settings) -> Settings:
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        known = ", ".join(defaults)
        raise UsageError(f"the memory broker's client has no setting {unknown[0]!r}, only {known}")
    return {**defaults, **settings}
