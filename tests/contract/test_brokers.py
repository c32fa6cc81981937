"""What the engine relies on in every registered broker; nothing here starts a process."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nodes import place

from chaos.registry import load, names
from chaos.spi import (
    Address,
    Broker,
    Caveat,
    HandsOut,
    Launch,
    Place,
    Port,
    Readable,
    TakesBack,
    TellsSettings,
    View,
)

TOPOLOGIES = {
    "kafka": [{}, {"controllers": 3, "racks": 3}],
    "rocketmq": [
        {},
        {"replication": "SYNC_MASTER", "replicas": 2, "name_servers": 1},
        {"client": "grpc"},
    ],
}
"""What a cluster may consist of besides the default; here, nodes that clients do not talk to."""
CASES = [(name, values) for name in names("brokers") for values in TOPOLOGIES.get(name, [{}])]
METHODS = [name for name, value in vars(Broker).items() if inspect.isfunction(value)
           and not name.startswith("_")]  # fmt: skip


def addresses(broker: Broker) -> dict[str, dict[str, Address]]:
    """A different address for each port, none of which occurs in a default."""
    number = iter(range(41_001, 50_000))
    return {
        member.name: {port.name: Address("127.0.0.1", next(number)) for port in member.ports}
        for member in broker.members()
    }


def launch(broker: Broker) -> dict[str, tuple[Place, Launch]]:
    where = addresses(broker)
    places = {member.name: place(member, where) for member in broker.members()}
    return {name: (there, broker.launch(there)) for name, there in places.items()}


def parameters(function: Any) -> list[tuple[str, Any]]:
    return [(each.name, each.kind) for each in inspect.signature(function).parameters.values()]


def test_the_built_in_brokers_are_registered() -> None:
    """The tests below are about them."""
    assert {"kafka", "memory", "rabbitmq", "rocketmq"} <= set(names("brokers"))


@pytest.fixture(params=names("brokers"))
def cls(request: pytest.FixtureRequest) -> type[Any]:
    return load("brokers", request.param)


@pytest.fixture(params=CASES, ids=str)
def broker(request: pytest.FixtureRequest) -> Any:
    name, values = request.param
    return load("brokers", name)(**values)


def test_every_method_of_the_protocol_is_there_with_its_parameters(cls: type[Any]) -> None:
    """The engine may call it by position or by name."""
    assert len(METHODS) >= 11
    for name in METHODS:
        assert parameters(getattr(cls, name)) == parameters(getattr(Broker, name)), name


def test_reading_back_is_as_in_its_protocol(
    cls: type[Any],
) -> None:
    """An ability is all or nothing."""
    if hasattr(cls, "stored"):
        assert parameters(cls.stored) == parameters(Readable.stored)
    if hasattr(cls, "keeps"):
        assert hasattr(cls, "stored")
        assert parameters(cls.keeps) == parameters(HandsOut.keeps)


def test_taking_back_is_as_in_its_protocol(cls: type[Any]) -> None:
    """And what comes back goes somewhere that can be read."""
    if hasattr(cls, "take_back_problem"):
        assert parameters(cls.take_back_problem) == parameters(TakesBack.take_back_problem)
        assert hasattr(cls, "stored")


def test_telling_settings_is_as_in_its_protocol(cls: type[Any]) -> None:
    """An ability is all or nothing."""
    for name in ("in_force", "unheeded"):
        if hasattr(cls, "in_force") or hasattr(cls, "unheeded"):
            assert parameters(getattr(cls, name)) == parameters(getattr(TellsSettings, name))


def test_it_and_its_stream_are_frozen_data(cls: type[Any]) -> None:
    """Two equal experiments have equal brokers, and nobody changes one on the way."""
    for each in (cls, cls.stream_type):
        assert is_dataclass(each)
        assert each.__dataclass_params__.frozen
        assert inspect.getdoc(each)
    assert cls() == cls()


def test_the_stream_has_partitions_and_a_name_that_a_run_can_set(cls: type[Any]) -> None:
    """Each run has a stream of its own."""
    stream = cls.stream_type()
    assert "name" in {field.name for field in fields(stream)}
    assert stream.partitions >= 1
    assert replace(stream, name="chaos-1").name == "chaos-1"


def test_the_defaults_fit_together(broker: Any) -> None:
    """Whoever sets nothing gets a cluster."""
    assert list(broker.problems(broker.stream_type())) == []


def test_caveats_tell_question_setting_and_reason(broker: Any) -> None:
    """They are shown beside a FAIL, so each must be readable on its own."""
    for caveat in broker.caveats(broker.stream_type(), {}, {}):
        assert isinstance(caveat, Caveat)
        assert caveat.question in names("verifiers")
        assert caveat.setting
        assert caveat.why


def test_members_have_names_of_their_own_and_ports_that_can_be_told_apart(broker: Any) -> None:
    """A node, a port, an address: each means one thing."""
    members = list(broker.members())
    assert members
    assert members == list(broker.members())
    assert len({member.name for member in members}) == len(members)
    for member in members:
        assert member.name == member.name.strip().lower()
        for attribute in ("name", "number"):
            values = [getattr(port, attribute) for port in member.ports]
            assert len(set(values)) == len(values) > 0


def test_every_port_tells_who_connects_and_what_to_ask(broker: Any) -> None:
    """Probes need a request that a healthy server answers; clients must get in somewhere."""
    ports: list[Port] = [port for member in broker.members() for port in member.ports]
    for port in ports:
        assert port.audience in {"peers", "clients", "everyone", "self"}
        assert 0 < port.number < 65_536
        assert isinstance(port.ping, bytes)
        assert port.ping or not port.for_clients
    assert any(port.for_clients for port in ports)
    for member in broker.members():
        inner = [port for port in member.ports if port.for_peers]
        assert not inner or any(port.ping for port in inner), "no probe could tell of its links"


def test_a_launch_depends_on_the_place_alone_and_uses_every_address(broker: Any) -> None:
    """A member can be launched again from what is on disk, and listens where it was told to."""
    for name, (there, first) in launch(broker).items():
        assert first == broker.launch(there)
        arguments = getattr(first.program, "argv", getattr(first.program, "arguments", ()))
        said = "\n".join([*first.files.values(), *first.environment.values(), *arguments])
        for port, address in there.listen.items():
            assert str(address.port) in said, f"{name}: port {port}"


def test_files_of_a_launch_stay_in_their_directory(broker: Any) -> None:
    """They are relative and lead nowhere else."""
    for _, launched in launch(broker).values():
        for path in launched.files:
            assert not Path(path).is_absolute()
            assert ".." not in Path(path).parts


def test_no_two_members_are_launched_alike(broker: Any) -> None:
    """Each has its own name, data and addresses."""
    launched = [str(each) for _, each in launch(broker).values()]
    assert len(set(launched)) == len(launched)


def test_an_empty_view_has_nobody_in_any_role(broker: Any) -> None:
    """Targets are not found rather than made up."""
    assert broker.roles
    for role, takes_partition in broker.roles.items():
        found = broker.locate(role, 0 if takes_partition else None, View())
        assert tuple(found) == (), role


def test_a_role_is_held_by_those_that_the_view_names(broker: Any) -> None:
    """A target is resolved to nodes of the view, each once."""
    first, *others = [member.name for member in broker.members()]
    nodes = (first, *others)
    view = View(controller=first, leaders={0: first}, replicas={0: nodes}, in_sync={0: nodes})
    for role, takes_partition in broker.roles.items():
        found = list(broker.locate(role, 0 if takes_partition else None, view))
        assert set(found) <= set(nodes), role
        assert len(set(found)) == len(found), role
    assert list(broker.locate("leader", 0, view)) == [first]
