"""What each RabbitMQ node is started with."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from chaos.spi import Address, Launch, Place
from chaos_adapters.brokers.rabbitmq import Rabbitmq
from chaos_adapters.brokers.rabbitmq.topology import cookie

CLIENTS = {
    f"rabbitmq-{number}": Address(
        f"10.0.0.{number}", 20000 + number,
        (("management", 21000 + number), ("stream", 22000 + number)),
    )
    for number in (1, 2, 3)
}  # fmt: skip


def _launched(broker: Rabbitmq, number: int = 2) -> Launch:
    """Of node `number`, which listens on its own ports plus 10000."""
    member = broker.members()[number - 1]
    listen = {port.name: Address("0.0.0.0", port.number + 10_000) for port in member.ports}
    return broker.launch(Place("ab12", member, "/data", "/config", listen, {}, CLIENTS))


def _settings(launched: Launch) -> dict[str, str]:
    """Of rabbitmq.conf, in which each has one line."""
    text = launched.files["rabbitmq.conf"]
    assert text.endswith("\n")
    pairs = [(line.partition(" = ")[0], line.partition(" = ")[2]) for line in text.splitlines()]
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_settings_of_a_node() -> None:
    """All that is in its rabbitmq.conf: it listens where it should, tells clients of streams the
    address that they reach, and forms a cluster of all nodes."""
    assert _settings(_launched(Rabbitmq())) == {
        "listeners.tcp.default": "15672",
        "management.tcp.port": "25672",
        "stream.listeners.tcp.1": "15552",
        "stream.advertised_host": "10.0.0.2",
        "stream.advertised_port": "22002",
        "loopback_users.guest": "false",
        "log.console": "true",
        "log.file": "false",
        "cluster_formation.peer_discovery_backend": "classic_config",
        "cluster_formation.classic_config.nodes.1": "rabbit@rabbitmq-1",
        "cluster_formation.classic_config.nodes.2": "rabbit@rabbitmq-2",
        "cluster_formation.classic_config.nodes.3": "rabbit@rabbitmq-3",
        "cluster_partition_handling": "pause_minority",
        "collect_statistics_interval": "1000",
    }


@pytest.mark.parametrize(("given", "key", "value"), [
    ({"partition_handling": "pause_minority"}, "cluster_partition_handling", "pause_minority"),
    ({"partition_handling": "autoheal"}, "cluster_partition_handling", "autoheal"),
    ({"partition_handling": "ignore"}, "cluster_partition_handling", "ignore"),
    ({"settings": {"heartbeat": 5}}, "heartbeat", "5"),
    ({"settings": {"queue_master_locator": "min-masters"}}, "queue_master_locator", "min-masters"),
    ({"settings": {"mqtt.allow_anonymous": False}}, "mqtt.allow_anonymous", "false"),
])  # fmt: skip
def test_what_an_experiment_sets_is_in_force(given: Any, key: str, value: str) -> None:
    """As rabbitmq.conf writes it, beside what is there without; nothing else changes."""
    found = _settings(_launched(Rabbitmq(**given)))
    assert found == {**_settings(_launched(Rabbitmq())), key: value}


@pytest.mark.parametrize("ticktime_s", [60, 4, 8])
def test_the_environment_of_a_node(ticktime_s: int) -> None:
    """Its name, ports and secret, where its files are, and after how much silence of another node
    it gives that one up."""
    launched = _launched(Rabbitmq(net_ticktime=ticktime_s))
    assert launched.environment == {
        "RABBITMQ_NODENAME": "rabbit@rabbitmq-2",
        "ERL_EPMD_PORT": "14369",
        "RABBITMQ_DIST_PORT": "35674",
        "RABBITMQ_CONFIG_FILE": "/config/rabbitmq",
        "RABBITMQ_ADVANCED_CONFIG_FILE": "/config/advanced",
        "RABBITMQ_CONF_ENV_FILE": "/config/rabbitmq-env.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "/config/enabled_plugins",
        "RABBITMQ_ERLANG_COOKIE": cookie("ab12"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel net_ticktime {ticktime_s}",
    }


def test_files_of_a_node() -> None:
    """Each is named by the environment: the plug-ins that are asked and spoken to, the address of
    the port mapper, and what has no name in rabbitmq.conf."""
    launched = _launched(Rabbitmq())
    assert set(launched.files) == {
        "rabbitmq.conf", "advanced.config", "rabbitmq-env.conf", "enabled_plugins",
    }  # fmt: skip
    assert launched.files["enabled_plugins"] == "[rabbitmq_management,rabbitmq_stream].\n"
    advanced = (
        "[{osiris, [{port_range, {16004, 16005}}]}, {rabbit, [{quorum_tick_interval, 1000}]}]."
    )
    assert " ".join(launched.files["advanced.config"].split()) == advanced
    lines = [each for each in launched.files["rabbitmq-env.conf"].splitlines() if each[0] != "#"]
    assert lines == ["ERL_EPMD_ADDRESS=$(hostname -i)", "export ERL_EPMD_ADDRESS"]


def test_nodes_differ_in_what_has_to_differ() -> None:
    """Names, and the ports that no other node on the host may listen on; the secret is one."""
    first, second = (_launched(Rabbitmq(), number) for number in (1, 2))
    differ = {key for key in first.environment if first.environment[key] != second.environment[key]}
    assert differ == {"RABBITMQ_NODENAME", "RABBITMQ_DIST_PORT"}
    assert first.files["advanced.config"] != second.files["advanced.config"]
    ours, theirs = _settings(first), _settings(second)
    assert {key for key in ours if ours[key] != theirs[key]} == {
        "stream.advertised_host", "stream.advertised_port",
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 3, 9])
def test_members_of_a_cluster(count: int) -> None:
    """AMQP is what clients find first; what peers listen on has a number of its own each."""
    members = Rabbitmq(nodes=count).members()
    assert [member.name for member in members] == [f"rabbitmq-{n}" for n in range(1, count + 1)]
    own = [port.number for member in members for port in member.ports
           if port.for_peers and port.name != "epmd"]  # fmt: skip
    assert len(set(own)) == len(own) == 3 * count
    for member in members:
        clients = [port for port in member.ports if port.for_clients]
        assert [port.name for port in clients] == ["amqp", "management", "stream"]
        assert all(port.ping for port in member.ports if "replication" not in port.name)
        assert not any(port.ping for port in member.ports if "replication" in port.name)


def test_probes_say_how_long_they_are() -> None:
    """As the protocols that begin with a length want it."""
    pings = {port.name: port.ping for port in Rabbitmq().members()[0].ports}
    for name, form in (("stream", ">I"), ("epmd", ">H"), ("dist", ">H")):
        size = struct.calcsize(form)
        assert struct.unpack(form, pings[name][:size])[0] == len(pings[name]) - size
    assert pings["amqp"] == b"AMQP\x00\x00\x09\x01"
