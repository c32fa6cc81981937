"""Apache Kafka, KRaft mode, version 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from chaos.spi import (
    Address,
    Caveat,
    Deliveries,
    Launch,
    Member,
    PartitionEnd,
    Place,
    Placement,
    Producer,
    SendSink,
    Settings,
    Transactions,
    View,
)
from chaos_adapters.brokers.kafka import admin, replicas, topology
from chaos_adapters.brokers.kafka import settings as client_settings
from chaos_adapters.brokers.kafka.clients import (
    KafkaConsumer,
    KafkaProducer,
    bootstrap,
    read_back,
)
from chaos_adapters.brokers.kafka.observer import KafkaObserver


@dataclass(frozen=True)
class Topic:
    """The topic of a run."""

    partitions: int = 3
    """How many partitions the topic has."""
    replicas: int = 3
    """How many copies there are of each partition."""
    settings: Settings = field(default_factory=dict)
    """Topic settings as Kafka names them, such as `min.insync.replicas`."""
    name: str = "chaos"
    """What the topic's name begins with; each run adds its own number."""

    def __post_init__(self) -> None:
        for name in ("partitions", "replicas"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 is needed")


@dataclass(frozen=True)
class Kafka:
    """Apache Kafka in KRaft mode: every node is broker and controller."""

    stream_type: ClassVar[type] = Topic
    roles: ClassVar[Mapping[str, bool]] = {
        "leader": True,
        "follower": True,
        "followers": True,
        "replica": True,
        "replicas": True,
        "controller": False,
    }

    nodes: int = 3
    """How many brokers; each is a controller too."""
    version: str = "4.1.1"
    """Of the jars (local runtime) and of the official image (Docker)."""
    settings: Settings = field(default_factory=dict)
    """Broker settings as Kafka names them."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 9:
            raise ValueError(f"nodes is {self.nodes}: 1 to 9 are possible")

    def problems(self, stream: Topic) -> Sequence[tuple[str, str]]:
        """More replicas than brokers, or more in sync than replicas, can never be."""
        found = []
        if stream.replicas > self.nodes:
            what = f"{stream.replicas} replicas do not fit on {self.nodes} brokers"
            found.append(("stream.replicas", f"{what}: at most {self.nodes}"))
        wanted = stream.settings.get("min.insync.replicas", 1)
        if str(wanted).isdigit() and int(wanted) > stream.replicas:
            what = f"{wanted} of {stream.replicas} replicas can never be in sync"
            found.append(("stream.settings.min.insync.replicas", what))
        return found

    def client_problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """As librdkafka sees them."""
        return list(client_settings.problems(producer, consumer))

    def members(self) -> Sequence[Member]:
        """See topology."""
        return topology.members(self.nodes)

    def launch(self, place: Place) -> Launch:
        """See topology."""
        return topology.launch(place, self.nodes, self.version, self.settings)

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """All brokers registered, and a controller active."""
        return admin.missing(clients, self.nodes, timeout_s)

    def prepare(self, clients: Mapping[str, Address], stream: Topic, timeout_s: float) -> None:
        """Create the topic with all replicas in sync."""
        admin.prepare(
            clients, stream.name, stream.partitions, stream.replicas, stream.settings, timeout_s
        )

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Delete all topics and groups, and prove that all is whole."""
        admin.reset(clients, self.nodes, timeout_s)

    def observer(self, clients: Mapping[str, Address], stream: Topic) -> KafkaObserver:
        """See observer."""
        return KafkaObserver(clients, stream.name)

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        """By the view; a follower is a replica that does not lead."""
        if role == "controller":
            return [view.controller] if view.controller else []
        assert partition is not None
        leader, nodes = view.leaders.get(partition), view.replicas.get(partition, ())
        if role == "leader":
            return [leader] if leader else []
        if role in ("replica", "replicas"):
            return nodes
        return [name for name in nodes if name != leader]

    def ended_in_order(self, log: Sequence[str]) -> bool:
        """It heard the signal, and let go of all requests after it: a broker does that only when
        its controlled shutdown is over. Its last lines may be missing, as the log ends before it.
        """
        _, heard, after = "\n".join(log).rpartition("Terminating process due to signal SIGTERM")
        return bool(heard) and "shut down completely" in after

    def partition_names(self, stream: Topic) -> Sequence[str]:
        """As Kafka writes them."""
        return [replicas.partition_name(stream.name, n) for n in range(stream.partitions)]

    def placement(
        self, clients: Mapping[str, Address], names: Sequence[str], timeout_s: float
    ) -> Mapping[str, Placement]:
        """By the metadata."""
        return replicas.placement(clients, names, timeout_s)

    def move(
        self, clients: Mapping[str, Address], wanted: Mapping[str, Sequence[str]], timeout_s: float
    ) -> None:
        """A reassignment."""
        replicas.move(clients, wanted, timeout_s)

    def preferred(self, view: View) -> Mapping[int, str]:
        """The first replica of each partition."""
        return {number: nodes[0] for number, nodes in view.replicas.items() if nodes}

    def elect(
        self,
        clients: Mapping[str, Address],
        stream: Topic,
        timeout_s: float,  # noqa: ARG002 - librdkafka's election takes none
    ) -> Mapping[int, str]:
        """Of preferred leaders."""
        return replicas.elect(clients, stream.name, stream.partitions)

    def producer(
        self, clients: Mapping[str, Address], stream: Topic, settings: Settings, sink: SendSink
    ) -> KafkaProducer:
        """Settings are librdkafka's."""
        return KafkaProducer({**bootstrap(clients), **settings}, stream.name, sink)

    def transaction_problems(self, settings: Settings) -> Sequence[str]:
        """As librdkafka sees it: without idempotence, for instance."""
        return client_settings.transaction_problems(settings)

    def transactional_producer(
        self,
        clients: Mapping[str, Address],
        stream: Topic,
        settings: Settings,
        sink: SendSink,
        transactions: Transactions,
        identity: str,
    ) -> Producer:
        """Settings are librdkafka's; `identity` is the `transactional.id`."""
        from chaos_adapters.brokers.kafka.transactions import TransactionalProducer

        own = {"transactional.id": identity, **settings}
        return TransactionalProducer({**bootstrap(clients), **own}, stream.name, sink, transactions)

    def consumer(
        self, clients: Mapping[str, Address], stream: Topic, settings: Settings, group: str
    ) -> KafkaConsumer:
        """Settings are librdkafka's."""
        return KafkaConsumer({**bootstrap(clients), "group.id": group, **settings}, stream.name)

    def stored(
        self, clients: Mapping[str, Address], stream: Topic, timeout_s: float
    ) -> Iterator[Deliveries | PartitionEnd]:
        """What the leaders hold."""
        return read_back(bootstrap(clients), stream.name, stream.partitions, timeout_s)

    def caveats(self, stream: Topic, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """What Kafka's documentation makes the guarantees depend on."""
        from chaos_adapters.brokers.kafka.caveats import caveats

        return caveats(self, stream, producer, consumer)
