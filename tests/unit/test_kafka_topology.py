"""What a Kafka cluster consists of: configuration, launch, and who has which role."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from chaos.spi import Address, Java, Member, Place, Settings, View
from chaos_adapters.brokers.kafka import Kafka, Topic
from chaos_adapters.brokers.kafka import topology as kafka
from chaos_adapters.brokers.kafka.topology import Topology


def places(nodes: int, controllers: int = 0, cluster_id: str = "ab12") -> list[Place]:
    """Every port of every node has an address of its own; so have the clients' ways."""
    members = Topology(nodes, controllers).members
    numbers = iter(range(20_000, 21_000))
    reach = {
        member.name: {
            port.name: Address(f"host-{member.name}", next(numbers)) for port in member.ports
        }
        for member in members
    }
    listen = {
        member.name: {port.name: Address("127.0.0.1", next(numbers)) for port in member.ports}
        for member in members
    }
    client = {member.name: Address("127.0.0.1", next(numbers)) for member in members}
    return [
        Place(cluster_id, member, f"/data/{member.name}", f"/config/{member.name}",
              listen[member.name], reach, client)
        for member in members
    ]  # fmt: skip


def properties(
    place: Place, nodes: int, settings: Settings | None = None, controllers: int = 0
) -> dict[str, str]:
    launch = kafka.launch(place, Topology(nodes, controllers), "4.1.1", settings or {})
    text = launch.files["server.properties"]
    pairs = [line.partition("=") for line in text.splitlines()]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: value for key, _, value in pairs}


def listeners(text: str) -> dict[str, str]:
    return dict(part.split("://") for part in text.split(","))


@pytest.mark.parametrize("nodes", [1, 3])
def test_every_node_knows_itself_and_all_voters(nodes: int) -> None:
    """It binds to what it was told, is reached as everybody reaches it, and advertises to clients
    the address that clients use; all agree on who votes."""
    where = places(nodes)
    for number, place in enumerate(where, 1):
        name, found = place.member.name, properties(place, nodes)
        assert found["node.id"] == str(number)
        assert found["process.roles"] == "broker,controller"
        assert listeners(found["listeners"]) == {
            "INTERNAL": str(place.listen["internal"]),
            "CONTROLLER": str(place.listen["controller"]),
            "CLIENTS": str(place.listen["clients"]),
        }
        assert listeners(found["advertised.listeners"]) == {
            "INTERNAL": str(place.reach[name]["internal"]), "CLIENTS": str(place.client[name]),
        }  # fmt: skip
        assert set(listeners(found["listener.security.protocol.map"].replace(":", "://"))) == {
            "INTERNAL", "CONTROLLER", "CLIENTS",
        }  # fmt: skip
        voters = [f"{n}@{place.reach[f'kafka-{n}']['controller']}" for n in range(1, nodes + 1)]
        assert found["controller.quorum.voters"].split(",") == voters
        assert found["log.dirs"] == f"/data/{name}/kafka"


@pytest.mark.parametrize("controllers", [1, 3, 5])
def test_dedicated_controllers_vote_and_brokers_do_not(controllers: int) -> None:
    """Each node has one role, the ports of it, and the same voters; clients reach brokers only."""
    where = places(3, controllers)
    reach = where[0].reach
    names = [f"controller-{n}" for n in range(1, controllers + 1)]
    voters = [f"{100 + n}@{reach[name]['controller']}" for n, name in enumerate(names, 1)]
    assert [place.member.name for place in where] == [*NAMES, *names]
    for place in where:
        found = properties(place, 3, controllers=controllers)
        assert found["controller.quorum.voters"].split(",") == voters
        assert found["controller.listener.names"] == "CONTROLLER"
        if place.member.name in names:
            assert place.member.roles == {"controller"}
            assert found["process.roles"] == "controller"
            assert found["listeners"] == f"CONTROLLER://{place.listen['controller']}"
            assert "advertised.listeners" not in found
            assert {port.audience for port in place.member.ports} == {"peers"}
        else:
            assert place.member.roles == {"broker"}
            assert found["process.roles"] == "broker"
            assert set(listeners(found["listeners"])) == {"INTERNAL", "CLIENTS"}


def test_a_dedicated_controller_has_a_small_heap() -> None:
    """It holds no messages, and laptops are small."""
    *_, place = places(1, 1)
    heap = kafka.launch(place, Topology(1, 1), "4.1.1", {}).environment["KAFKA_HEAP_OPTS"]
    assert heap == "-Xms64m -Xmx192m"


def test_nodes_stand_in_racks_in_turn() -> None:
    """Brokers and controllers each from the first rack on; only brokers are told."""
    broker = Kafka(nodes=4, controllers=3, racks=3)
    racks = {member.name: member.rack for member in broker.members()}
    assert "".join(racks.values()) == "abcaabc"
    assert broker.topology.broker_racks == dict(zip(racks, "abca", strict=False))
    assert {member.rack for member in Kafka().members()} == {""}
    named = Kafka(nodes=2, racks=["eu-1a", "eu-1b"])
    assert [member.rack for member in named.members()] == ["eu-1a", "eu-1b"]
    place = places(1)[0]
    place = replace(place, member=replace(place.member, rack="eu-1a"))
    assert properties(place, 1)["broker.rack"] == "eu-1a"
    assert "broker.rack" not in properties(places(1)[0], 1)


@pytest.mark.parametrize(("nodes", "copies", "least"), [(1, "1", "1"), (2, "2", "2"), (3, "3", "2"),
                                                        (5, "3", "2")])  # fmt: skip
def test_internal_topics_fit_the_number_of_nodes(nodes: int, copies: str, least: str) -> None:
    """One node still gets a group coordinator; three survive the loss of one."""
    found = properties(places(nodes)[0], nodes)
    for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert found[f"{topic}.replication.factor"] == copies
    for topic in ("transaction.state.log", "share.coordinator.state.topic"):
        assert found[f"{topic}.min.isr"] == least


def test_settings_of_the_experiment_have_the_last_word() -> None:
    """Written as Kafka reads them: truth values in small letters, each key once."""
    settings: Settings = {
        "auto.create.topics.enable": True, "num.io.threads": 9,
        "unclean.leader.election.enable": False, "replica.lag.time.max.ms": 1500,
        "log.dirs": "/else",
    }  # fmt: skip
    found = properties(places(3)[0], 3, settings)
    assert found["auto.create.topics.enable"] == "true"
    assert found["num.io.threads"] == "9"
    assert found["unclean.leader.election.enable"] == "false"
    assert found["replica.lag.time.max.ms"] == "1500"
    assert found["log.dirs"] == "/else"


def test_no_guarantee_is_changed_behind_the_users_back() -> None:
    """What decides about loss and failover is Kafka's default unless the experiment sets it."""
    found = properties(places(3)[0], 3)
    for key in (
        "min.insync.replicas", "unclean.leader.election.enable", "default.replication.factor",
        "replica.lag.time.max.ms", "broker.session.timeout.ms", "flush.messages",
    ):  # fmt: skip
        assert not [name for name in found if name.endswith(key)]


def test_a_launch_formats_the_storage_first_and_starts_with_the_same_files() -> None:
    """A second start formats nothing; the jars are those of the version's lock."""
    place = places(3)[1]
    launch = kafka.launch(place, Topology(3), "4.1.1", {})
    (prepare,), program = launch.prepare, launch.program
    assert isinstance(prepare, Java)
    assert isinstance(program, Java)
    identity = kafka.kafka_cluster_id("ab12")
    assert prepare.arguments == (
        "format", "--ignore-formatted", "-t", identity, "-c", "/config/kafka-2/server.properties",
    )  # fmt: skip
    assert program.arguments == ("/config/kafka-2/server.properties",)
    assert program.lock == prepare.lock
    assert program.lock.endswith("kafka-4.1.1.lock")
    assert any("/config/kafka-2/log4j2.properties" in option for option in program.options)
    assert set(launch.files) == {"server.properties", "log4j2.properties", "java.options"}
    assert launch.environment["CLUSTER_ID"] == identity


def test_a_cluster_id_is_one_that_kafka_takes() -> None:
    """16 bytes in URL-safe base 64 without padding; a different one for each cluster."""
    found = {kafka.kafka_cluster_id(f"{number:08x}") for number in range(50)}
    assert len(found) == 50
    for each in found:
        assert len(each) == 22
        assert len(base64.urlsafe_b64decode(each + "==")) == 16


def test_names_and_numbers_of_nodes_belong_together() -> None:
    """`"10"` contains `"1"`: names are taken apart, not searched."""
    for number in (1, 2, 9, 10, 11, 101, 109):
        assert kafka.node_id(kafka.node_name(number)) == number
    names = [member.name for member in Topology(9, 9).members]
    assert len({kafka.node_id(name) for name in names}) == 18


# ---------------------------------------------------------------------------------------- roles

NAMES = ("kafka-1", "kafka-2", "kafka-3")
VIEW = View(
    controller="kafka-2",
    leaders={0: "kafka-3", 1: None, 2: "kafka-1"},
    replicas={0: ("kafka-3", "kafka-1", "kafka-2"), 1: ("kafka-1", "kafka-2"), 2: ("kafka-1",)},
)


@pytest.mark.parametrize(
    ("role", "partition", "expected"),
    [
        ("leader", 0, ["kafka-3"]),
        ("leader", 1, []),
        ("leader", 9, []),
        ("follower", 0, ["kafka-1", "kafka-2"]),
        ("followers", 0, ["kafka-1", "kafka-2"]),
        ("followers", 1, ["kafka-1", "kafka-2"]),
        ("followers", 2, []),
        ("replicas", 0, ["kafka-3", "kafka-1", "kafka-2"]),
        ("replica", 2, ["kafka-1"]),
        ("controller", None, ["kafka-2"]),
    ],
)
def test_roles_are_those_of_the_view(role: str, partition: int | None, expected: list[str]) -> None:
    """A partition without a leader has followers only; nobody is made up."""
    assert list(Kafka().locate(role, partition, VIEW)) == expected


# ------------------------------------------------------------------------------------- problems


@pytest.mark.parametrize(
    ("broker", "stream", "paths"),
    [
        (Kafka(), Topic(), []),
        (Kafka(nodes=1), Topic(), ["stream.replicas"]),
        (Kafka(nodes=1), Topic(replicas=1), []),
        (Kafka(), Topic(replicas=2, settings={"min.insync.replicas": 3}),
         ["stream.settings.min.insync.replicas"]),
        (Kafka(), Topic(replicas=2, settings={"min.insync.replicas": "3"}),
         ["stream.settings.min.insync.replicas"]),
        (Kafka(nodes=2), Topic(settings={"min.insync.replicas": 4}),
         ["stream.replicas", "stream.settings.min.insync.replicas"]),
        (Kafka(racks=["a", "b", "c"]), Topic(), []),
        (Kafka(racks=["a", "1"]), Topic(), ["cluster.racks"]),
        (Kafka(racks=["a", "a"]), Topic(), ["cluster.racks"]),
        (Kafka(racks=["a", "b", "c", "d"]), Topic(), ["cluster.racks"]),
        (Kafka(version="4.0.7"), Topic(), []),
        (Kafka(version="3.9.0"), Topic(), ["cluster.version"]),
        (Kafka(version="../4.1.1"), Topic(), ["cluster.version"]),
        (Kafka(version="latest"), Topic(), ["cluster.version"]),
    ],
)  # fmt: skip
def test_what_can_never_be_is_told_with_its_place(
    broker: Kafka, stream: Topic, paths: list[str]
) -> None:
    """All of it at once."""
    assert [path for path, _ in broker.problems(stream)] == paths


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (Kafka, "nodes", 0),
        (Kafka, "nodes", 10),
        (Kafka, "controllers", 0),
        (Kafka, "controllers", 10),
        (Kafka, "racks", 4),
        (Kafka, "racks", -1),
        (Topic, "partitions", 0),
        (Topic, "replicas", 0),
    ],
)
def test_impossible_numbers_are_refused(cls: Any, field: str, value: int) -> None:
    """With the value."""
    with pytest.raises(ValueError, match=f"{field} is {value}:"):
        cls(**{field: value})


def test_members_are_all_broker_and_controller_with_three_ports() -> None:
    """Peers use two of them, clients one; every one answers the same ping."""
    found = Topology(3).members
    assert [member.name for member in found] == list(NAMES)
    for member in found:
        assert isinstance(member, Member)
        assert member.roles == {"broker", "controller"}
        audiences = {port.name: port.audience for port in member.ports}
        assert audiences == {"internal": "peers", "controller": "peers", "clients": "clients"}
        assert {port.ping for port in member.ports} == {kafka.PING}
    size = int.from_bytes(kafka.PING[:4], "big")
    assert size == len(kafka.PING) - 4


def test_no_cluster_id_looks_like_an_option() -> None:
    """One of 64 began with a hyphen, and `kafka-storage format -t -x...` refused it."""
    from chaos_adapters.brokers.kafka.topology import kafka_cluster_id

    identities = {kafka_cluster_id(str(number)) for number in range(2000)}
    assert len(identities) == 2000
    assert not any(identity.startswith("-") for identity in identities)
    assert {len(identity) for identity in identities} == {22}
