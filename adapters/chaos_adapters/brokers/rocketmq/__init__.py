"""Apache RocketMQ 5: name servers, controllers inside them, one group of brokers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from chaos.spi import (
    Address,
    Caveat,
    Consumer,
    Deliveries,
    Held,
    Launch,
    Member,
    PartitionEnd,
    Place,
    Producer,
    SendSink,
    Settings,
    Transactions,
    Use,
    View,
)
from chaos_adapters.brokers.rocketmq import admin, reading, refusals, topology, versions
from chaos_adapters.brokers.rocketmq import in_force as server_settings
from chaos_adapters.brokers.rocketmq import settings as remoting_settings
from chaos_adapters.brokers.rocketmq.drivers import Crashing, Driver, Name, Transacting, driver
from chaos_adapters.brokers.rocketmq.drivers.native import settings as native_settings
from chaos_adapters.brokers.rocketmq.observer import RocketmqObserver
from chaos_adapters.brokers.rocketmq.topology import Topology


@dataclass(frozen=True)
class Topic:
    """The topic of a run."""

    partitions: int = 4
    """How many queues the topic has."""
    settings: Settings = field(default_factory=dict)
    """Attributes of the topic as RocketMQ names them, such as `message.type`."""
    name: str = "chaos"
    """What the topic's name begins with; each run adds its own number."""

    def __post_init__(self) -> None:
        if not 1 <= self.partitions <= 64:
            raise ValueError(f"partitions is {self.partitions}: 1 to 64 are possible")


@dataclass(frozen=True)
class Rocketmq:
    """Apache RocketMQ 5: one group of brokers, whose master controllers choose, or a fixed one."""

    stream_type: ClassVar[type] = Topic
    client_settings: ClassVar[Mapping[str, type]] = {
        "producers": remoting_settings.ProducerSettings,
        "consumers": remoting_settings.ConsumerSettings,
        "producers with `client: native`": native_settings.ProducerSettings,
        "consumers with `client: native`": native_settings.ConsumerSettings,
    }
    java: ClassVar[bool] = True
    roles: ClassVar[Mapping[str, bool]] = {
        "master": False,
        "slave": False,
        "slaves": False,
        "controller": False,
        "namesrv": False,
        "namesrvs": False,
        "leader": True,
        "follower": True,
        "followers": True,
    }

    replicas: int = 3
    """How many brokers the group has, 1 to 9: `rocketmq-1` and following."""
    name_servers: int = 3
    """How many name servers, 1 to 9: `namesrv-1` and following."""
    replication: Literal["controller", "SYNC_MASTER", "ASYNC_MASTER"] = "controller"
    """`controller`: a controller inside each name server chooses the master, and another one when
    it dies. `SYNC_MASTER`, `ASYNC_MASTER`: `rocketmq-1` is master for ever, and acknowledges with
    or without waiting for slaves."""
    controllers: Literal["jRaft", "DLedger"] = "jRaft"
    """How controllers agree. Those of 5.3.3 with jRaft never replace a master that falls silent
    (apache/rocketmq#9717), those with DLedger do."""
    version: str = "5.3.3"
    """Of the jars (local runtime) and of the official image (Docker)."""
    settings: Settings = field(default_factory=dict)
    """Settings of all brokers, as RocketMQ names them, such as `allAckInSyncStateSet`."""
    controller_settings: Settings = field(default_factory=dict)
    """Settings of all name servers and controllers, such as `enableElectUncleanMaster`."""
    client: Name = "remoting"
    """Which library sends and receives. `remoting`: our own driver, which tells the queue of each
    acknowledgement. `native`: the package rocketmq-client-python, as its applications see it."""

    def __post_init__(self) -> None:
        for name in ("replicas", "name_servers"):
            if not 1 <= getattr(self, name) <= 9:
                raise ValueError(f"{name} is {getattr(self, name)}: 1 to 9 are possible")

    @property
    def _driver(self) -> Driver:
        return driver(self.client)

    @property
    def topology(self) -> Topology:
        """Who is there."""
        return Topology(self.replicas, self.name_servers, self.replication, self.controllers)

    def problems(self, stream: Topic) -> Sequence[tuple[str, str]]:
        """What can never be: settings that nobody would heed, more copies than brokers, ..."""
        own = (self.settings, self.controller_settings, stream.settings)
        found = [*refusals.of_settings(self.version, *own), *refusals.of_form(self)]
        if wrong := refusals.of_topic(stream.name):
            found.append(("stream.name", wrong))
        if wrong := versions.problem(self.version):
            found.append(("cluster.version", wrong))
        for name in ("inSyncReplicas", "minInSyncReplicas"):
            wanted = str(self.settings.get(name, 1))
            if wanted.isdigit() and int(wanted) > self.replicas:
                what = f"{wanted} of {self.replicas} replicas can never be in sync"
                found.append((f"cluster.settings.{name}", what))
        return found

    def client_problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """What the driver says."""
        return self._driver.problems(producer, consumer)

    def use_problems(self, stream: Topic, use: Use) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        """See spi.ChecksUse; any load goes with any topic."""
        return ()

    def role_problem(self, role: str, stream: Topic) -> str:  # noqa: ARG002
        """See spi.ChecksUse."""
        if role == "controller" and not self.topology.controlled:
            return f"there are no controllers with replication: {self.replication}"
        if role in ("slave", "slaves", "follower", "followers") and self.replicas == 1:
            return f"there is no {role}: the one broker is the master"
        return ""

    def clients_may_crash(self) -> str:
        """See spi.ClientsMayCrash."""
        chosen = self._driver
        return chosen.crashes if isinstance(chosen, Crashing) else ""

    def files(self, stream: Topic) -> Sequence[str]:  # noqa: ARG002 - all share one commit log
        """The commit log, in which the messages of all topics follow each other."""
        return ["store/commitlog/*"]

    def members(self) -> Sequence[Member]:
        """See topology."""
        return self.topology.members

    def launch(self, place: Place) -> Launch:
        """See topology."""
        return topology.launch(
            place, self.topology, self.version, self.settings, self.controller_settings
        )

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """All brokers known to all name servers, one active controller, the SyncStateSet whole."""
        return admin.missing(clients, self.topology.controlled, timeout_s)

    def prepare(self, clients: Mapping[str, Address], stream: Topic, timeout_s: float) -> None:
        """Create the topic on all brokers."""
        admin.prepare(clients, stream.name, stream.partitions, stream.settings, timeout_s)

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Delete all topics and groups, and prove that all is whole."""
        admin.reset(clients, timeout_s)

    def in_force(
        self, clients: Mapping[str, Address], stream: Topic, timeout_s: float
    ) -> Mapping[str, Mapping[str, str]]:
        """Of each broker and name server, and the topic's attributes."""
        return server_settings.in_force(clients, stream.name, timeout_s)

    def unheeded(self, stream: Topic, in_force: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
        """By value, as RocketMQ writes it."""
        own = (self.settings, self.controller_settings, stream.settings)
        return server_settings.unheeded(self.version, *own, in_force)

    def observer(self, clients: Mapping[str, Address], stream: Topic) -> RocketmqObserver:
        """See observer."""
        return RocketmqObserver(clients, stream.name, stream.partitions, self.topology.controlled)

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        """By the view; all queues have one master, as there is one group."""
        if role == "controller":
            return [view.controller] if view.controller else []
        if role in ("namesrv", "namesrvs"):
            return [name for name in view.alive if not topology.is_broker(name)]
        number = partition if partition is not None else min(view.leaders, default=-1)
        leader, nodes = view.leaders.get(number), view.replicas.get(number, ())
        if role in ("leader", "master"):
            return [leader] if leader else []
        return [name for name in nodes if name != leader]

    def producer(
        self, clients: Mapping[str, Address], stream: Topic, settings: Settings, sink: SendSink
    ) -> Producer:
        """The driver's."""
        return self._driver.producer(clients, stream.name, settings, sink)

    def transaction_problems(self, settings: Settings) -> Sequence[str]:
        """All of a local transaction are half sent before the first is ended."""
        if not isinstance(self._driver, Transacting):
            return [f"client={self.client}, whose library has none"]
        found = []
        if settings.get("orderly"):
            found.append("orderly=true, as several messages of a queue are open at once")
        if settings.get("delayTimeLevel"):
            found.append("delayTimeLevel, as RocketMQ delays no message of a transaction")
        return [*found, *refusals.of_transactions(self.settings)]

    def settings_in_transactions(self, settings: Settings) -> Settings:
        """The same, marked: nothing is set for them, and caveats go by them."""
        return {**settings, remoting_settings.IN_TRANSACTIONS: True}

    def transactional_producer(
        self,
        clients: Mapping[str, Address],
        stream: Topic,
        settings: Settings,
        sink: SendSink,
        transactions: Transactions,
        identity: str,  # noqa: ARG002
    ) -> Producer:
        """RocketMQ shuts nobody out: all producers are of one group, each of which can tell what
        was decided about any message."""
        chosen = self._driver
        assert isinstance(chosen, Transacting)
        return chosen.transactional_producer(clients, stream.name, settings, sink, transactions)

    def consumer(
        self, clients: Mapping[str, Address], stream: Topic, settings: Settings, group: str
    ) -> Consumer:
        """The driver's."""
        return self._driver.consumer(clients, stream.name, settings, group)

    def take_back_problem(self, stream: Topic) -> str:  # noqa: ARG002 - every topic's do
        """None: a group has topics of its own for what its members hand back."""
        return ""

    def stored(
        self, clients: Mapping[str, Address], stream: Topic, timeout_s: float
    ) -> Iterator[Deliveries | PartitionEnd]:
        """What the master holds. In the dead-letter stream that is also what consumers handed back
        too often, of whichever group: a run has one."""
        return reading.stored(clients, stream.name, stream.partitions, timeout_s)

    def held(
        self, node: str, clients: Mapping[str, Address], stream: Topic, timeout_s: float
    ) -> Iterator[Held | PartitionEnd]:
        """Messages as this broker gives them out, whoever is master."""
        return reading.held(node, clients, stream.name, stream.partitions, timeout_s)

    def caveats(self, stream: Topic, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """What RocketMQ's documentation makes the guarantees depend on."""
        from chaos_adapters.brokers.rocketmq.caveats import caveats

        return [*caveats(self, stream), *self._driver.caveats(producer, consumer)]

    def cache_caveats(self, stream: Topic) -> Sequence[Caveat]:  # noqa: ARG002
        """See spi.TrustsCaches."""
        from chaos_adapters.brokers.rocketmq.caveats import cache_caveats

        return cache_caveats(self)
