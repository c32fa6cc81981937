"""What a RabbitMQ cluster consists of, and how to start it.

Erlang's distribution needs no privilege to go through the links: `ERL_EPMD_ADDRESS` binds a node's
port mapper to its own address, as the proxies of the links to its peers listen on others; and every
node has a distribution port of its own, as a node refuses to start when anything on its host
listens on that port already.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Mapping, Sequence

from chaos.spi import Launch, Member, Place, Port, Settings
from chaos_adapters.brokers.properties import as_text

AMQP, MANAGEMENT, STREAM, EPMD, DISTRIBUTION = "amqp", "management", "stream", "epmd", "dist"

USER = PASSWORD = "guest"  # noqa: S105 - known to everybody
"""RabbitMQ's own first user; its ports are published on this machine's loopback only."""

_PLUGINS = ("rabbitmq_management", "rabbitmq_stream")
_EPMD_PORT = 4369
_FIRST_DISTRIBUTION = 25672
_FIRST_REPLICATION, _REPLICATIONS = 6000, 2
"""Ports on which a stream's replica waits for its leader to connect; it listens for moments."""

_ENVIRONMENT = """\
# Sourced before every start. EPMD would listen everywhere, where the links' proxies listen already.
ERL_EPMD_ADDRESS=$(hostname -i)
export ERL_EPMD_ADDRESS
"""

_AMQP_PING = b"AMQP\x00\x00\x09\x01"
_STREAM_PING = struct.pack(">IHHII", 12, 17, 1, 1, 0)
"""PeerProperties, the first request of every connection (RabbitMQ stream protocol, key 17)."""
_EPMD_PING = struct.pack(">HB", 1, 110)
"""NAMES_REQ (Erlang distribution protocol, "EPMD protocol")."""
_HTTP_PING = b"GET /api/overview HTTP/1.0\r\n\r\n"

_SECRET = secrets.token_bytes(32)
"""Of this process: all nodes of a cluster are launched by one, and no other has to know it."""


def _hello() -> bytes:
    """A first message of the distribution handshake, which is answered before any cookie is asked
    for (Erlang distribution protocol, "Distribution handshake")."""
    flags = 0xD_07DF_7FBD
    name = b"probe@probe"
    body = struct.pack(">cQIH", b"N", flags, 1, len(name)) + name
    return struct.pack(">H", len(body)) + body


def node_name(number: int) -> str:
    """Also the host name."""
    return f"rabbitmq-{number}"


def erlang_name(node: str) -> str:
    """What RabbitMQ calls a node."""
    return f"rabbit@{node}"


def short_name(erlang: str) -> str:
    """The node that RabbitMQ calls so."""
    return erlang.partition("@")[2]


def members(nodes: int) -> Sequence[Member]:
    """`rabbitmq-1` and following; the first port of clients is AMQP's."""
    return [
        Member(node_name(number), frozenset({"broker"}), _ports(number))
        for number in range(1, nodes + 1)
    ]


def _ports(number: int) -> tuple[Port, ...]:
    first = _FIRST_REPLICATION + _REPLICATIONS * number
    return (
        Port(AMQP, 5672, "clients", _AMQP_PING),
        Port(MANAGEMENT, 15672, "clients", _HTTP_PING),
        Port(STREAM, 5552, "clients", _STREAM_PING),
        Port(EPMD, _EPMD_PORT, "peers", _EPMD_PING),
        Port(DISTRIBUTION, _FIRST_DISTRIBUTION + number, "peers", _hello()),
        *(
            Port(f"replication-{place}", first + place, "peers", b"")
            for place in range(_REPLICATIONS)
        ),
    )


def cookie(cluster_id: str) -> str:
    """The secret by which nodes of one cluster know each other: another one for each cluster."""
    return hmac.new(_SECRET, cluster_id.encode(), hashlib.sha256).hexdigest()[:32]


def launch(
    place: Place, nodes: int, partition_handling: str, net_ticktime_s: int, settings: Settings
) -> Launch:
    """Files and environment for a container."""
    own, directory = place.member, place.config_dir
    numbers = {name: address.port for name, address in place.listen.items()}
    values = {**_values(place, nodes, partition_handling), **settings}
    return Launch(
        files={
            "rabbitmq.conf": "".join(f"{key} = {as_text(each)}\n" for key, each in values.items()),
            "advanced.config": _advanced(numbers),
            "rabbitmq-env.conf": _ENVIRONMENT,
            "enabled_plugins": f"[{','.join(_PLUGINS)}].\n",
        },
        environment={
            "RABBITMQ_NODENAME": erlang_name(own.name),
            "ERL_EPMD_PORT": str(numbers[EPMD]),
            "RABBITMQ_DIST_PORT": str(numbers[DISTRIBUTION]),
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{directory}/advanced",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/enabled_plugins",
            "RABBITMQ_ERLANG_COOKIE": cookie(place.cluster_id),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel net_ticktime {net_ticktime_s}",
        },
    )


def _values(place: Place, nodes: int, partition_handling: str) -> Mapping[str, object]:
    published = place.client[place.member.name]
    peers = {
        f"cluster_formation.classic_config.nodes.{number}": erlang_name(node_name(number))
        for number in range(1, nodes + 1)
    }
    return {
        "listeners.tcp.default": place.listen[AMQP].port,
        "management.tcp.port": place.listen[MANAGEMENT].port,
        "stream.listeners.tcp.1": place.listen[STREAM].port,
        # Clients are told where to find the leader of a stream: from outside, at its proxy.
        "stream.advertised_host": published.host,
        "stream.advertised_port": published.of(STREAM).port,
        "loopback_users.guest": False,
        "log.console": True,
        "log.file": False,
        "cluster_formation.peer_discovery_backend": "classic_config",
        **peers,
        "cluster_partition_handling": partition_handling,
        # How old figures of the management API may be; the default of 5 s is too old for a backlog.
        "collect_statistics_interval": 1000,
    }


def _advanced(numbers: Mapping[str, int]) -> str:
    """What has no name in rabbitmq.conf: streams replicate on ports that the links know."""
    ports = [number for name, number in numbers.items() if name.startswith("replication-")]
    return (
        f"[{{osiris, [{{port_range, {{{min(ports)}, {max(ports)}}}}}]}},\n"
        " {rabbit, [{quorum_tick_interval, 1000}]}].\n"
    )
