"""What a Kafka cluster consists of: combined KRaft nodes and their configuration."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.spi import Java, Launch, Member, Place, Port, Settings

INTERNAL, CONTROLLER, CLIENTS = "internal", "controller", "clients"

PING = struct.pack(">ihhih5s", 15, 18, 0, 1, 5, b"chaos")
"""ApiVersions v0, which every listener answers, controllers' too (Kafka protocol guide, key 18)."""

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


def members(nodes: int) -> Sequence[Member]:
    """`kafka-1` and following, each broker and controller at once."""
    ports = (
        Port(INTERNAL, 9092, "peers", PING),
        Port(CONTROLLER, 9093, "peers", PING),
        Port(CLIENTS, 19092, "clients", PING),
    )
    roles = frozenset({"broker", "controller"})
    return [Member(f"kafka-{number}", roles, ports) for number in range(1, nodes + 1)]


def node_id(name: str) -> int:
    """`kafka-2` -> 2."""
    return int(name.rpartition("-")[2])


def node_name(identity: int) -> str:
    """2 -> `kafka-2`."""
    return f"kafka-{identity}"


def properties(place: Place, nodes: int, settings: Settings) -> Mapping[str, object]:
    """The broker's configuration; the experiment's `settings` have the last word."""
    name, listen = place.member.name, place.listen
    copies = min(3, nodes)
    voters = ",".join(f"{node_id(peer)}@{at[CONTROLLER]}" for peer, at in place.reach.items())
    return {
        "process.roles": "broker,controller",
        "node.id": node_id(name),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "listener.security.protocol.map":
            "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:PLAINTEXT",
        "listeners":
            f"INTERNAL://{listen[INTERNAL]},CONTROLLER://{listen[CONTROLLER]},"
            f"CLIENTS://{listen[CLIENTS]}",
        "advertised.listeners":
            f"INTERNAL://{place.reach[name][INTERNAL]},CLIENTS://{place.client[name]}",
        "log.dirs": f"{place.data_dir}/kafka",  # not the top of a disk: there may be `lost+found`
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min(2, copies),
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": min(2, copies),
        "auto.create.topics.enable": False,
        **_SMALL,
        **settings,
    }  # fmt: skip


def property_text(values: Mapping[str, object]) -> str:
    """As a Java properties file."""
    return "".join(f"{key}={_text(value)}\n" for key, value in values.items())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def kafka_cluster_id(cluster_id: str) -> str:
    """Kafka's own kind of id: 16 bytes in URL-safe base 64, with the first bit 0.

    So it never begins with a hyphen, which Kafka's storage tool would take for an option.
    """
    digest = hashlib.sha256(cluster_id.encode()).digest()[:16]
    first = bytes([digest[0] & 0x7F])
    return base64.urlsafe_b64encode(first + digest[1:]).decode().rstrip("=")


def launch(place: Place, nodes: int, version: str, settings: Settings) -> Launch:
    """The configuration file for either runtime, and the Java programs for plain processes."""
    lock = str(Path(__file__).with_name(f"kafka-{version}.lock"))
    config, identity = f"{place.config_dir}/server.properties", kafka_cluster_id(place.cluster_id)
    options = (
        *_HEAP, *_START_FAST,
        f"-Dlog4j2.configurationFile={place.config_dir}/log4j2.properties",
    )  # fmt: skip
    format_it = ("format", "--ignore-formatted", "-t", identity, "-c", config)
    return Launch(
        files={
            "server.properties": property_text(properties(place, nodes, settings)),
            "log4j2.properties": _LOG4J,
        },
        environment={
            "CLUSTER_ID": identity,
            "KAFKA_HEAP_OPTS": " ".join(_HEAP),
            "KAFKA_JVM_PERFORMANCE_OPTS": " ".join(_START_FAST),
        },
        prepare=(Java(lock, "kafka.tools.StorageTool", format_it, options),),
        program=Java(lock, "kafka.Kafka", (config,), options),
    )
