"""What a Kafka cluster consists of (brokers, controllers, or both in one), and how to start it."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaos.spi import JAVA_OPTIONS, Java, Launch, Member, Place, Port, Settings
from chaos_adapters.brokers.kafka import versions
from chaos_adapters.brokers.properties import property_text

INTERNAL, CONTROLLER, CLIENTS = "internal", "controller", "clients"

PING = struct.pack(">ihhih5s", 15, 18, 0, 1, 5, b"chaos")
"""ApiVersions v0, which every listener answers, controllers' too (Kafka protocol guide, key 18)."""

_INTERNAL = Port(INTERNAL, 9092, "peers", PING)
_CONTROLLER = Port(CONTROLLER, 9093, "peers", PING)
_CLIENTS = Port(CLIENTS, 19092, "clients", PING)
_FIRST_CONTROLLER = 100
"""Dedicated controllers are numbered from here on: brokers and controllers share one space."""

_SMALL: Settings = {
    # Kafka's defaults for these assume a machine of its own; none changes what a failure does.
    "group.initial.rebalance.delay.ms": 0,
    "offsets.topic.num.partitions": 3,
    "transaction.state.log.num.partitions": 3,
    "share.coordinator.state.topic.num.partitions": 3,
    "num.io.threads": 4,
    "num.network.threads": 2,
    "log.cleaner.dedupe.buffer.size": 4_194_304,  # the default costs 120 MB a broker
}

_HEAP = ("-Xms256m", "-Xmx512m")
_CONTROLLER_HEAP = ("-Xms64m", "-Xmx192m")  # it holds metadata of a few topics, and no messages
_START_FAST = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p [%t] %c{1} - %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


@dataclass(frozen=True)
class Topology:
    """So many brokers and dedicated controllers (0: every broker is a controller too), which stand
    in turn in the racks, if there are any."""

    brokers: int
    controllers: int = 0
    racks: tuple[str, ...] = ()

    @property
    def members(self) -> Sequence[Member]:
        """`kafka-1` and following, then `controller-1` and following."""
        combined = not self.controllers
        kinds = frozenset({"broker", "controller"} if combined else {"broker"})
        ports = (_INTERNAL, _CONTROLLER, _CLIENTS) if combined else (_INTERNAL, _CLIENTS)
        return [
            *(
                Member(node_name(number), kinds, ports, self._rack(number))
                for number in range(1, self.brokers + 1)
            ),
            *(
                Member(
                    node_name(_FIRST_CONTROLLER + number),
                    frozenset({"controller"}),
                    (_CONTROLLER,),
                    self._rack(number),
                )
                for number in range(1, self.controllers + 1)
            ),
        ]

    @property
    def voters(self) -> Sequence[str]:
        """The names of all controllers."""
        return [member.name for member in self.members if "controller" in member.roles]

    @property
    def broker_racks(self) -> Mapping[str, str]:
        """Broker -> its rack; empty where there are no racks."""
        members = (member for member in self.members if "broker" in member.roles)
        return {member.name: member.rack for member in members if member.rack}

    def _rack(self, number: int) -> str:
        return self.racks[(number - 1) % len(self.racks)] if self.racks else ""


def node_id(name: str) -> int:
    """`kafka-2` -> 2, `controller-2` -> 102."""
    kind, _, number = name.rpartition("-")
    return int(number) + (_FIRST_CONTROLLER if kind == "controller" else 0)


def node_name(identity: int) -> str:
    """2 -> `kafka-2`, 102 -> `controller-2`."""
    if identity > _FIRST_CONTROLLER:
        return f"controller-{identity - _FIRST_CONTROLLER}"
    return f"kafka-{identity}"


def properties(place: Place, topology: Topology, settings: Settings) -> Mapping[str, object]:
    """A node's configuration; the experiment's `settings` have the last word."""
    name, listen, roles = place.member.name, place.listen, place.member.roles
    names = {INTERNAL: "INTERNAL", CONTROLLER: "CONTROLLER", CLIENTS: "CLIENTS"}
    return {
        "process.roles": ",".join(sorted(roles)),
        "node.id": node_id(name),
        "controller.quorum.voters": ",".join(
            f"{node_id(voter)}@{place.reach[voter][CONTROLLER]}" for voter in topology.voters
        ),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map":
            "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:PLAINTEXT",
        "listeners": ",".join(f"{names[port]}://{at}" for port, at in listen.items()),
        "log.dirs": f"{place.data_dir}/kafka",  # not the top of a disk: there may be `lost+found`
        **(_broker_properties(place) if "broker" in roles else {}),
        **_internal_topics(topology.brokers),
        "auto.create.topics.enable": False,
        **_SMALL,
        **settings,
    }  # fmt: skip


def _broker_properties(place: Place) -> Mapping[str, object]:
    """What only a node has that stores messages."""
    name = place.member.name
    found: dict[str, object] = {
        "inter.broker.listener.name": "INTERNAL",
        "advertised.listeners":
            f"INTERNAL://{place.reach[name][INTERNAL]},CLIENTS://{place.client[name]}",
    }  # fmt: skip
    return {**found, "broker.rack": place.member.rack} if place.member.rack else found


def _internal_topics(brokers: int) -> Mapping[str, object]:
    copies = min(3, brokers)
    return {
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min(2, copies),
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": min(2, copies),
    }


def kafka_cluster_id(cluster_id: str) -> str:
    """Kafka's own kind of id: 16 bytes in URL-safe base 64, with the first bit 0.

    So it never begins with a hyphen, which Kafka's storage tool would take for an option.
    """
    digest = hashlib.sha256(cluster_id.encode()).digest()[:16]
    first = bytes([digest[0] & 0x7F])
    return base64.urlsafe_b64encode(first + digest[1:]).decode().rstrip("=")


def launch(place: Place, topology: Topology, version: str, settings: Settings) -> Launch:
    """The configuration file for either runtime, and the Java programs for plain processes."""
    lock = str(versions.lock(version))
    config, identity = f"{place.config_dir}/server.properties", kafka_cluster_id(place.cluster_id)
    heap = _HEAP if "broker" in place.member.roles else _CONTROLLER_HEAP
    # What comes later overrides what came before, so nothing of ours may follow it but properties.
    more = f"-XX:VMOptionsFile={place.config_dir}/{JAVA_OPTIONS}"
    options = (
        *heap, *_START_FAST,
        f"-Dlog4j2.configurationFile={place.config_dir}/log4j2.properties",
    )  # fmt: skip
    format_it = ("format", "--ignore-formatted", "-t", identity, "-c", config)
    return Launch(
        files={
            "server.properties": property_text(properties(place, topology, settings)),
            "log4j2.properties": _LOG4J,
            JAVA_OPTIONS: "",
        },
        environment={
            "CLUSTER_ID": identity,
            "KAFKA_HEAP_OPTS": " ".join(heap),
            "KAFKA_JVM_PERFORMANCE_OPTS": " ".join((*_START_FAST, more)),
        },
        prepare=(Java(lock, "kafka.tools.StorageTool", format_it, options),),
        program=Java(lock, "kafka.Kafka", (config,), (*options, more)),
    )
