"""RabbitMQ 3.10 and later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from chaos.spi import (
    Address,
    Caveat,
    Consumer,
    Deliveries,
    Launch,
    Member,
    Node,
    PartitionEnd,
    Place,
    Producer,
    SendSink,
    Settings,
    Use,
    View,
)
from chaos_adapters.brokers.rabbitmq import admin, refusals, topology
from chaos_adapters.brokers.rabbitmq import settings as client_settings
from chaos_adapters.brokers.rabbitmq.caveats import cache_caveats, caveats
from chaos_adapters.brokers.rabbitmq.drivers import Name, driver
from chaos_adapters.brokers.rabbitmq.drivers.rstream import settings as stream_settings
from chaos_adapters.brokers.rabbitmq.observer import RabbitObserver
from chaos_adapters.brokers.rabbitmq.reading import read_back
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from chaos_adapters.brokers.rabbitmq.versions import DEFAULT, numbers_of, version_problem

_STORES = ("msg_store_persistent", "msg_store_transient")


@dataclass(frozen=True)
class Rabbitmq:
    """RabbitMQ, clustered: quorum queues, classic queues with mirrors or without, streams."""

    stream_type: ClassVar[type] = Queues
    roles: ClassVar[Mapping[str, bool]] = {
        "leader": True,
        "mirror": True,
        "mirrors": True,
        "follower": True,
        "followers": True,
        "member": True,
        "members": True,
    }
    client_settings: ClassVar[Mapping[str, type]] = {
        "producers": client_settings.Publishing,
        "consumers": client_settings.Consuming,
        "producers with `client: rstream`": stream_settings.Publishing,
        "consumers with `client: rstream`": stream_settings.Consuming,
    }

    nodes: int = 3
    """How many nodes, 1 to 9: `rabbitmq-1` and following."""
    version: str = DEFAULT
    """Of the official image, 3.10 to 3.13 or 4.x. What a version cannot do is refused, and so are
    nodes of another one."""
    partition_handling: Literal["pause_minority", "autoheal", "ignore"] = "pause_minority"
    """What nodes do that lost each other (`cluster_partition_handling`), up to 4.1."""
    net_ticktime: int = 60
    """Seconds. A node from which nothing comes is given up after up to a quarter more of it, so
    that a silent cut (`how: drop`) that is shorter may go unnoticed; a connection that is closed
    tells at once."""
    settings: Settings = field(default_factory=dict)
    """Settings of all nodes, as `rabbitmq.conf` names them; not those that have a key of their own
    here."""
    client: Name = "pika"
    """Which library sends and receives. `pika`: AMQP 0.9.1. `rstream`: the stream protocol, for
    `kind: stream` only."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 9:
            raise ValueError(f"nodes is {self.nodes}: 1 to 9 are possible")
        if what := version_problem(self.version):
            raise ValueError(f"version is {self.version!r}: {what}")
        if self.net_ticktime < 4:
            raise ValueError(f"net_ticktime is {self.net_ticktime}: at least 4 s is needed")

    def problems(self, stream: Queues) -> Sequence[tuple[str, str]]:
        """What can never be, in this version or at all."""
        found = list(driver(self.client).stream_problems(stream))
        found += refusals.of_settings(self.settings)
        found += refusals.of_queues(stream, self.nodes)
        found += refusals.of_version(
            numbers_of(self.version), stream, self.partition_handling, self.settings
        )
        return found

    @property
    def _release(self) -> int:
        return numbers_of(self.version)[0]

    def client_problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """What the driver says."""
        return driver(self.client).problems(producer, consumer)

    def use_problems(self, stream: Queues, use: Use) -> Sequence[tuple[str, str]]:
        """See spi.ChecksUse."""
        amqp = self.client == "pika"
        most = refusals.of_size(use.size, self._release, amqp, self.settings)
        return [*refusals.of_use(stream, use, amqp), *most]

    def role_problem(self, role: str, stream: Queues) -> str:
        """See spi.ChecksUse."""
        alone = stream.kind is Kind.CLASSIC or self.nodes == 1
        alone |= stream.kind in (Kind.QUORUM, Kind.STREAM) and stream.replicas == 1
        alone |= stream.kind is Kind.MIRRORED and stream.in_force.get("ha-params") == 1
        if not alone or role in ("leader", "member", "members"):
            return ""
        return f"there is no {role}: each queue has one copy, which is its leader"

    def silence_note(self, silence_s: float) -> str:
        """See spi.GivesUpSilent. Members of a quorum queue have a detector of their own, so that a
        short silence may cost it its leader all the same."""
        first_s, last_s = self.net_ticktime * 0.75, self.net_ticktime * 1.25
        if self.nodes == 1 or silence_s >= last_s:
            return ""
        told = f"is over after {silence_s:g} s, and nodes that hear nothing of each other give up"
        when = f"after {first_s:g} to {last_s:g} s (cluster.net_ticktime: {self.net_ticktime})"
        return f"{told} {when}: but for quorum queues, which may elect a leader, all may just wait"

    def members(self) -> Sequence[Member]:
        """See topology."""
        return topology.members(self.nodes)

    def launch(self, place: Place) -> Launch:
        """See topology."""
        return topology.launch(
            place, self.nodes, self.partition_handling, self.net_ticktime, self.settings
        )

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """All nodes run, and every one sees all others."""
        return admin.missing(clients, timeout_s, self.version)

    def prepare(self, clients: Mapping[str, Address], stream: Queues, timeout_s: float) -> None:
        """Declare the queues, with their leaders spread over the nodes."""
        admin.prepare(clients, stream, timeout_s)

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Delete all queues and policies."""
        admin.reset(clients, timeout_s)

    def memory_limit(self, node: Node) -> str:
        """See spi.AlarmsForMemory."""
        return admin.memory_limit(node)

    def limit_memory(self, node: Node, limit: str) -> None:
        """See spi.AlarmsForMemory."""
        admin.limit_memory(node, limit)

    def memory_alarms(self, clients: Mapping[str, Address], timeout_s: float) -> Sequence[str]:
        """See spi.AlarmsForMemory."""
        return admin.memory_alarms(clients, timeout_s)

    def observer(self, clients: Mapping[str, Address], stream: Queues) -> RabbitObserver:
        """See observer."""
        return RabbitObserver(clients, stream)

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        """By the view; a mirror is a member that does not lead, and so is a follower."""
        assert partition is not None
        leader, nodes = view.leaders.get(partition), view.replicas.get(partition, ())
        if role == "leader":
            return [leader] if leader else []
        if role in ("member", "members"):
            return nodes
        return [name for name in nodes if name != leader]

    def ended_in_order(self, log: Sequence[str]) -> bool:
        """It was told to, and closed what messages are kept in: the last thing that 3.10 tells."""
        _, told, after = "\n".join(log).rpartition("SIGTERM received - shutting down")
        return bool(told) and all(f"{store}' is stopped" in after for store in _STORES)

    def producer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, sink: SendSink
    ) -> Producer:
        """The driver's."""
        return driver(self.client).producer(clients, stream, settings, sink)

    def consumer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, group: str
    ) -> Consumer:
        """The driver's."""
        return driver(self.client).consumer(clients, stream, settings, group)

    def take_back_problem(self, stream: Queues) -> str:
        """See spi.TakesBack: without a limit the queue would give it out again for ever."""
        return "" if stream.delivery_limit is not None else "needs stream.delivery_limit"

    def keeps(self, stream: Queues) -> bool:
        """See spi.Readable: what is consumed from a queue is gone."""
        return stream.keeps

    def stored(
        self, clients: Mapping[str, Address], stream: Queues, timeout_s: float
    ) -> Iterator[Deliveries | PartitionEnd]:
        """What is left in the queues; it stays there."""
        return read_back(clients, stream, timeout_s)

    def caveats(self, stream: Queues, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """What RabbitMQ's documentation makes the guarantees depend on."""
        of_clients = driver(self.client).caveats(self._release, stream, producer, consumer)
        return [*of_clients, *caveats(self._release, self.partition_handling, stream)]

    def place_caveats(self, stream: Queues, consumer: Settings) -> Sequence[Caveat]:
        """See spi.KeepsNoPlaces: of streams; what is left of a queue nobody has settled."""
        if stream.kind is not Kind.STREAM or consumer.get("store_offsets") is True:
            return []
        setting = "kind=stream" if self.client == "pika" else "store_offsets=false"
        why = "a consumer in the place of another one begins with the first message"
        return [Caveat("duplication", setting, why)]

    def cache_caveats(self, stream: Queues) -> Sequence[Caveat]:
        """See spi.TrustsCaches. Quorum queues force what they confirm to most of the disks."""
        return cache_caveats(self._release, self.settings, stream)
