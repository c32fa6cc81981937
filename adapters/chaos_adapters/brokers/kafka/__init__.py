"""Apache Kafka, KRaft mode, version 4."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import TYPE_CHECKING, ClassVar, Literal

from chaos.spi import (
    Address,
    Caveat,
    Deliveries,
    Held,
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
from chaos_adapters.brokers.kafka import server_settings, topology, versions
from chaos_adapters.brokers.kafka import settings as client_settings
from chaos_adapters.brokers.kafka.clients import (
    KafkaConsumer,
    KafkaProducer,
    bootstrap,
    read_back,
)
from chaos_adapters.brokers.kafka.topology import Topology

if TYPE_CHECKING:
    from chaos_adapters.brokers.kafka.observer import KafkaObserver

# What speaks Kafka's protocol itself is imported where it is used: a client's process does without
# it, and starts in less than half the time.

_RACK = re.compile("[A-Za-z][A-Za-z0-9._-]*")


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
    """Apache Kafka in KRaft mode, with combined or dedicated controllers, in racks or none."""

    stream_type: ClassVar[type] = Topic
    roles: ClassVar[Mapping[str, bool]] = {
        "leader": True,
        "follower": True,
        "followers": True,
        "replica": True,
        "replicas": True,
        "controller": False,
    }

    java: ClassVar[bool] = True

    nodes: int = 3
    """How many brokers, 1 to 9: `kafka-1` and following."""
    controllers: Literal["combined"] | int = "combined"
    """`combined`: every broker is a controller too, and votes. A number: so many nodes of their
    own, `controller-1` and following, to which no client talks; 3 survive the loss of one."""
    racks: int | list[str] = 0
    """How many racks (a, b, c ...), or their names. Nodes stand in them in turn: with 3 racks
    kafka-1, kafka-4 and controller-1 are in `a`. Kafka then spreads replicas over them."""
    version: str = "4.1.1"
    """Of the jars (local runtime) and of the official image (Docker)."""
    settings: Settings = field(default_factory=dict)
    """Settings of all brokers and controllers, as Kafka names them."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 9:
            raise ValueError(f"nodes is {self.nodes}: 1 to 9 are possible")
        if self.controllers != "combined" and not 1 <= self.controllers <= 9:
            raise ValueError(f"controllers is {self.controllers}: 1 to 9 or combined are possible")
        if isinstance(self.racks, int) and not 0 <= self.racks <= self.nodes:
            raise ValueError(f"racks is {self.racks}: 0 to {self.nodes} are possible")

    @property
    def topology(self) -> Topology:
        """Who is there."""
        racks = ascii_lowercase[: self.racks] if isinstance(self.racks, int) else self.racks
        dedicated = 0 if self.controllers == "combined" else self.controllers
        return Topology(self.nodes, dedicated, tuple(racks))

    def problems(self, stream: Topic) -> Sequence[tuple[str, str]]:
        """What can never be: more replicas than brokers, settings that do not exist, ..."""
        found = []
        if wrong := versions.problem(self.version):
            found.append(("cluster.version", wrong))
        if wrong := _rack_problem(self.racks, self.nodes):
            found.append(("cluster.racks", wrong))
        if stream.replicas > self.nodes:
            what = f"{stream.replicas} replicas do not fit on {self.nodes} brokers"
            found.append(("stream.replicas", f"{what}: at most {self.nodes}"))
        wanted = stream.settings.get("min.insync.replicas", 1)
        if str(wanted).isdigit() and int(wanted) > stream.replicas:
            what = f"{wanted} of {stream.replicas} replicas can never be in sync"
            found.append(("stream.settings.min.insync.replicas", what))
        return [*found, *server_settings.problems(self.version, self.settings, stream.settings)]

    def client_problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """As librdkafka sees them."""
        return list(client_settings.problems(producer, consumer))

    def members(self) -> Sequence[Member]:
        """See topology."""
        return self.topology.members

    def launch(self, place: Place) -> Launch:
        """See topology."""
        return topology.launch(place, self.topology, self.version, self.settings)

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """All brokers registered and serving, and all controllers up to date."""
        from chaos_adapters.brokers.kafka import admin

        return admin.missing(clients, self.topology.voters, timeout_s)

    def prepare(self, clients: Mapping[str, Address], stream: Topic, timeout_s: float) -> None:
        """Create the topic with all replicas in sync, and across racks where there are some."""
        from chaos_adapters.brokers.kafka import admin

        admin.prepare(
            clients, stream.name, stream.partitions, stream.replicas, stream.settings,
            self.topology.broker_racks, timeout_s,
        )  # fmt: skip

    def in_force(
        self, clients: Mapping[str, Address], stream: Topic, timeout_s: float
    ) -> Mapping[str, Mapping[str, str]]:
        """Of each broker and of the topic; what Kafka hides stays hidden."""
        return server_settings.in_force(clients, stream.name, timeout_s)

    def unheeded(self, stream: Topic, in_force: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
        """By value, as Kafka writes it."""
        racks = self.topology.broker_racks
        return [
            *server_settings.unheeded(self.version, self.settings, stream.settings, in_force),
            *server_settings.misplaced(racks, in_force),
        ]

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Delete all topics and groups, and prove that all is whole."""
        from chaos_adapters.brokers.kafka import admin

        admin.reset(clients, timeout_s)

    def observer(self, clients: Mapping[str, Address], stream: Topic) -> KafkaObserver:
        """See observer."""
        from chaos_adapters.brokers.kafka.observer import KafkaObserver

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

    def files(self, stream: Topic) -> Sequence[str]:
        """The segments of the topic's partitions."""
        return [f"kafka/{stream.name}-*/*.log"]

    def partition_names(self, stream: Topic) -> Sequence[str]:
        """As Kafka writes them."""
        from chaos_adapters.brokers.kafka import placement

        return [placement.partition_name(stream.name, n) for n in range(stream.partitions)]

    def placement(
        self, clients: Mapping[str, Address], names: Sequence[str], timeout_s: float
    ) -> Mapping[str, Placement]:
        """By the metadata."""
        from chaos_adapters.brokers.kafka import placement

        return placement.placement(clients, names, timeout_s)

    def move(
        self, clients: Mapping[str, Address], wanted: Mapping[str, Sequence[str]], timeout_s: float
    ) -> None:
        """A reassignment."""
        from chaos_adapters.brokers.kafka import placement

        placement.move(clients, wanted, timeout_s)

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
        from chaos_adapters.brokers.kafka import placement

        return placement.elect(clients, stream.name, stream.partitions)

    def producer(
        self, clients: Mapping[str, Address], stream: Topic, settings: Settings, sink: SendSink
    ) -> KafkaProducer:
        """Settings are librdkafka's."""
        return KafkaProducer({**bootstrap(clients), **settings}, stream.name, sink)

    def transaction_problems(self, settings: Settings) -> Sequence[str]:
        """As librdkafka sees it: without idempotence, for instance."""
        return client_settings.transaction_problems(settings)

    def settings_in_transactions(self, settings: Settings) -> Settings:
        """A `transactional.id` turns idempotence on (librdkafka, CONFIGURATION.md)."""
        return {"enable.idempotence": True, **settings}

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

    def held(
        self, node: str, clients: Mapping[str, Address], stream: Topic, timeout_s: float
    ) -> Iterator[Held | PartitionEnd]:
        """Batches as they lie on the disk of this broker. Where old messages are compacted away,
        each broker does that on its own, so there is nothing to compare."""
        from chaos_adapters.brokers.kafka import replicas

        policy = {"cleanup.policy": self.settings.get("log.cleanup.policy", ""), **stream.settings}
        if "compact" in str(policy["cleanup.policy"]):
            return replicas.ends(node, clients, stream.name, stream.partitions)
        return replicas.held(node, clients, stream.name, stream.partitions, timeout_s)

    def caveats(self, stream: Topic, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """What Kafka's documentation makes the guarantees depend on."""
        from chaos_adapters.brokers.kafka.caveats import caveats

        return caveats(self, stream, producer, consumer)

    def cache_caveats(self, stream: Topic) -> Sequence[Caveat]:
        """See spi.TrustsCaches."""
        from chaos_adapters.brokers.kafka.caveats import cache_caveats

        return cache_caveats(self, stream)


def _rack_problem(racks: int | list[str], nodes: int) -> str:
    """Why these names are none, so that `rack(NAME)` names one."""
    if isinstance(racks, int):
        return ""
    if wrong := [name for name in racks if not _RACK.fullmatch(name)]:
        return f"{wrong[0]!r} should begin with a letter and consist of letters, digits, . _ -"
    if len(set(racks)) < len(racks):
        return "each name should stand there once"
    return f"{len(racks)} racks for {nodes} brokers: at most {nodes}" if len(racks) > nodes else ""
