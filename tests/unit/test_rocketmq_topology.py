"""What a RocketMQ cluster consists of: who has which ports, and how each is configured."""

from __future__ import annotations

import pytest

from chaos.spi import Address, Place, View
from chaos_adapters.brokers.rocketmq import Rocketmq
from chaos_adapters.brokers.rocketmq.admin import _listed
from chaos_adapters.brokers.rocketmq.topology import (
    CONTROLLER,
    DLEDGER,
    HA,
    JRAFT,
    RAFT,
    REMOTING,
    Topology,
)


def places(topology: Topology) -> list[Place]:
    """Every port has one address, as a port of RocketMQ has one everywhere."""
    numbers = iter(range(20_000, 21_000))
    reach = {
        member.name: {port.name: Address("127.0.0.1", next(numbers)) for port in member.ports}
        for member in topology.members
    }
    return [
        Place("ab12", member, f"/data/{member.name}", f"/config/{member.name}",
              reach[member.name], reach, {})
        for member in topology.members
    ]  # fmt: skip


def properties(broker: Rocketmq, place: Place) -> dict[str, str]:
    text = broker.launch(place).files["rocketmq.conf"]
    pairs = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: value for key, _, value in pairs}


@pytest.mark.parametrize("kind", [JRAFT, DLEDGER])
def test_controllers_of_either_kind_know_each_other(kind: str) -> None:
    """Each is found at the address that brokers are told, and so does a look at the
    configuration of any name server say; who it is itself stands there as well."""
    broker = Rocketmq(controllers=kind)  # type: ignore[arg-type]
    where = places(broker.topology)
    addresses = [str(place.listen[CONTROLLER]) for place in where[:3]]
    for number, place in enumerate(where[:3], 1):
        found = properties(broker, place)
        assert found["controllerType"] == kind
        assert _listed(found) == addresses
        own = f"n{number}" if kind == DLEDGER else str(place.listen[RAFT])
        assert found[{JRAFT: "jRaftServerId", DLEDGER: "controllerDLegerSelfId"}[kind]] == own
        assert (RAFT in place.listen) == (kind == JRAFT)
    assert properties(broker, where[3])["controllerAddr"] == ";".join(addresses)


def test_a_fixed_master_needs_no_controllers() -> None:
    """None is configured, and nobody says that there are any."""
    broker = Rocketmq(replication="SYNC_MASTER")
    where = places(broker.topology)
    found = properties(broker, where[0])
    assert "controllerType" not in found
    assert _listed(found) == []
    assert properties(broker, where[3])["brokerRole"] == "SYNC_MASTER"
    assert properties(broker, where[4])["brokerRole"] == "SLAVE"


VIEW = View(
    controller="namesrv-2",
    leaders=dict.fromkeys((1, 2), "rocketmq-3"),
    replicas=dict.fromkeys((1, 2), ("rocketmq-1", "rocketmq-2", "rocketmq-3")),
    alive=("namesrv-1", "namesrv-2", "rocketmq-1", "rocketmq-3"),
)
HEADLESS = View(leaders={0: None}, replicas={0: ("rocketmq-1", "rocketmq-2")})


@pytest.mark.parametrize(
    ("role", "found", "headless"),
    [
        ("controller", ["namesrv-2"], []),
        ("namesrv", ["namesrv-1", "namesrv-2"], []),
        ("namesrvs", ["namesrv-1", "namesrv-2"], []),
        ("master", ["rocketmq-3"], []),
        ("leader", ["rocketmq-3"], []),
        ("slave", ["rocketmq-1", "rocketmq-2"], ["rocketmq-1", "rocketmq-2"]),
        ("slaves", ["rocketmq-1", "rocketmq-2"], ["rocketmq-1", "rocketmq-2"]),
        ("followers", ["rocketmq-1", "rocketmq-2"], ["rocketmq-1", "rocketmq-2"]),
    ],
)
def test_roles_are_those_of_the_view(role: str, found: list[str], headless: list[str]) -> None:
    """With and without a partition; where there is no master, nobody is made up. A slave is never
    the master, a name server never a broker."""
    partition = 2 if Rocketmq.roles[role] else None
    assert list(Rocketmq().locate(role, partition, VIEW)) == found
    assert list(Rocketmq().locate(role, 0 if partition else None, HEADLESS)) == headless
    assert list(Rocketmq().locate(role, partition, View())) == []


def test_the_settings_of_an_experiment_have_the_last_word() -> None:
    """Over our own, of brokers and of name servers each; a fixed master has the number 0 and the
    role that was chosen."""
    broker = Rocketmq(
        replication="ASYNC_MASTER",
        settings={"slaveReadEnable": False, "flushDiskType": "SYNC_FLUSH"},
        controller_settings={"scanNotActiveBrokerInterval": 100},
    )
    where = places(broker.topology)
    assert properties(broker, where[0])["scanNotActiveBrokerInterval"] == "100"
    assert "flushDiskType" not in properties(broker, where[0])
    one, two = (properties(broker, place) for place in where[3:5])
    assert (one["brokerRole"], one["brokerId"]) == ("ASYNC_MASTER", "0")
    assert (two["brokerRole"], two["brokerId"]) == ("SLAVE", "1")
    for each, place in zip((one, two), where[3:5], strict=True):
        assert (each["slaveReadEnable"], each["flushDiskType"]) == ("false", "SYNC_FLUSH")
        assert each["listenPort"] == str(place.listen[REMOTING].port)
        assert each["haListenPort"] == str(place.listen[HA].port)
