"""What a RocketMQ cluster consists of: who has which ports, and how each is configured."""

from __future__ import annotations

import pytest

from chaos.spi import Address, Place
from chaos_adapters.brokers.rocketmq import Rocketmq
from chaos_adapters.brokers.rocketmq.admin import _listed
from chaos_adapters.brokers.rocketmq.topology import CONTROLLER, DLEDGER, JRAFT, RAFT, Topology


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
