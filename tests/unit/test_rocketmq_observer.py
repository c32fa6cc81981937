"""RocketMQ's observer beside three name servers, with a controller in each, that say what a test
wants."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Group, View
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes, observer
from chaos_adapters.brokers.rocketmq.observer import RocketmqObserver
from tests.unit.rocketmq_server import Answer, Server

BROKERS = {f"rocketmq-{n}": Address("127.0.0.1", n) for n in (1, 2, 3)}
ONE, TWO, THREE = (str(at) for at in BROKERS.values())


class NameServer(Server):
    """`leads`: whether its controller is the active one, which says `state` of the group; it names
    the first of its `peers` that leads; `told`: what it says of controllers. As a broker it has the
    members and the positions of a group."""

    def __init__(self) -> None:
        self.leads = False
        self.peers: list[NameServer] = []
        self.state: Mapping[str, object] = {}
        self.told = ""
        self.members: list[str] = []
        self.positions: dict[str, int] = {}
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        if code == codes.GET_NAMESRV_CONFIG:
            return codes.SUCCESS, {}, self.told.encode()
        if code == codes.CONTROLLER_GET_METADATA_INFO:
            named = next((str(peer.address) for peer in self.peers if peer.leads), "")
            return codes.SUCCESS, {"controllerLeaderAddress": named}, b""
        if code == codes.CONTROLLER_GET_SYNC_STATE_DATA:
            about = {"replicasInfoTable": {"rocketmq": self.state}}
            return codes.SUCCESS, {}, json.dumps(about).encode()
        if code == codes.GET_CONSUMER_LIST_BY_GROUP:
            if not self.members:
                return codes.SYSTEM_ERROR, {}, b""
            return codes.SUCCESS, {}, json.dumps({"consumerIdList": self.members}).encode()
        if code == codes.GET_MAX_OFFSET:
            return codes.SUCCESS, {"offset": "50"}, b""
        assert code == codes.QUERY_CONSUMER_OFFSET
        if fields["queueId"] not in self.positions:
            return codes.QUERY_NOT_FOUND, {}, b""
        return codes.SUCCESS, {"offset": str(self.positions[fields["queueId"]])}, b""


def state(
    master: str, epoch: int, in_sync: tuple[str, ...], out: tuple[str, ...] = ()
) -> dict[str, object]:
    """What an active controller says."""
    return {
        "masterAddress": master, "masterEpoch": epoch,
        "inSyncReplicas": [{"brokerAddress": at} for at in in_sync],
        "notInSyncReplicas": [{"brokerAddress": at} for at in out],
    }  # fmt: skip


@pytest.fixture
def servers() -> Iterator[list[NameServer]]:
    """Three, whose second has the active controller, and which agree on `rocketmq-3`."""
    found = [NameServer() for _ in range(3)]
    listed = ",".join(str(server.address).replace(":", "\\:") for server in found)
    for server in found:
        server.told = f"jRaftControllerRPCAddr={listed}\n"
        server.peers = found
        server.at = {"0": THREE, "1": ONE, "2": TWO}
        server.state = state(THREE, 4, (THREE, ONE), (TWO,))
    found[1].leads = True
    yield found
    for server in found:
        server.close()


def observer_of(servers: list[NameServer], controlled: bool = True) -> RocketmqObserver:
    clients = {f"namesrv-{n}": server.address for n, server in enumerate(servers, 1)}
    return RocketmqObserver({**clients, **BROKERS}, "topic", 2, controlled)


@pytest.fixture
def looking(servers: list[NameServer]) -> Iterator[RocketmqObserver]:
    found = observer_of(servers)
    yield found
    found.close()


def seen(looking: RocketmqObserver, servers: int = 3, in_sync: bool = True) -> View:
    """The first look in which so many name servers have their say, and a controller has."""

    def look() -> View | None:
        view = looking.observe(5)
        heard = sum(name.startswith("namesrv") for name in view.alive)
        return view if heard == servers and bool(view.in_sync) == in_sync else None

    return wait_until(look, "all answers", 10, every_s=0.005)


def test_a_look(looking: RocketmqObserver) -> None:
    """The master of the route leads all queues; in sync is who the active controller says, of all
    brokers; the controller is the one that says that it is active."""
    view = seen(looking)
    assert view.controller == "namesrv-2"
    assert view.leaders == {0: "rocketmq-3", 1: "rocketmq-3"}
    assert view.replicas == dict.fromkeys((0, 1), ("rocketmq-1", "rocketmq-2", "rocketmq-3"))
    assert view.in_sync == dict.fromkeys((0, 1), ("rocketmq-1", "rocketmq-3"))
    assert view.alive == (
        "namesrv-1", "namesrv-2", "namesrv-3", "rocketmq-1", "rocketmq-2", "rocketmq-3",
    )  # fmt: skip
    assert view.dissenting == ()
    assert view.elected == dict.fromkeys((0, 1), "rocketmq-3")


def test_what_controllers_know_before_name_servers_do(
    looking: RocketmqObserver, servers: list[NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a broker is dead, in sync or not, and who was elected: clients go by the route all the
    same. When no controller says so any more, it counts no more."""
    seen(looking)
    servers[1].state = {
        **state(ONE, 5, (ONE,), (TWO, THREE)),
        "notInSyncReplicas": [
            {"brokerAddress": TWO, "alive": True}, {"brokerAddress": THREE, "alive": False},
        ],
    }  # fmt: skip
    wait_until(lambda: looking.observe(5).elected.get(0) == "rocketmq-1", "the election", 10)
    view = seen(looking)
    assert view.leaders == {0: "rocketmq-3", 1: "rocketmq-3"}
    assert {"rocketmq-1", "rocketmq-2"} < set(view.alive)
    assert "rocketmq-3" not in view.alive
    servers[1].state = {
        **state(ONE, 6, (ONE,)),
        "inSyncReplicas": [{"brokerAddress": ONE, "alive": False}],
    }
    wait_until(lambda: "rocketmq-1" not in looking.observe(5).alive, "another death", 10)
    monkeypatch.setattr(observer, "_SILENT_S", 0.05)
    for server in servers:
        server.leads = False
    wait_until(lambda: looking.observe(5).elected == {}, "nobody's word", 10)
    assert set(BROKERS) < set(looking.observe(5).alive)


def test_without_controllers_nobody_says_who_is_in_sync(servers: list[NameServer]) -> None:
    """Nor is there a controller."""
    looking = observer_of(servers, controlled=False)
    view = seen(looking, in_sync=False)
    assert (view.controller, view.in_sync, view.elected) == (None, {}, {})
    assert view.leaders[0] == "rocketmq-3"
    looking.close()


def test_who_is_not_told_is_not_alive(
    looking: RocketmqObserver, servers: list[NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that the route names no more leads nothing, and nobody is made up; a name server
    that says nothing is not alive, until it answers again, on a new connection."""
    monkeypatch.setattr(observer, "_SILENT_S", 0.05)
    for server in servers:
        server.at = {"1": ONE, "2": TWO}
    servers[2].silent = True
    servers[1].leads = False
    wait_until(
        lambda: looking.observe(5).alive == ("namesrv-1", "namesrv-2", "rocketmq-1", "rocketmq-2"),
        "the silence", 10, every_s=0.005,
    )  # fmt: skip
    assert looking.observe(5).leaders == {0: None, 1: None}
    servers[2].silent = False
    wait_until(lambda: "namesrv-3" in looking.observe(5).alive, "an answer", 10, every_s=0.005)


def test_a_controller_that_is_active_no_more_is_none(
    looking: RocketmqObserver, servers: list[NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while in which nobody says that it is."""
    assert seen(looking).controller == "namesrv-2"
    monkeypatch.setattr(observer, "_SILENT_S", 0.05)
    servers[1].leads = False
    wait_until(lambda: looking.observe(5).controller is None, "no controller", 10, every_s=0.005)
    servers[2].leads = True
    wait_until(lambda: looking.observe(5).controller == "namesrv-3", "it", 10, every_s=0.005)


def test_the_sync_state_set_never_goes_back_to_an_earlier_master(
    looking: RocketmqObserver, servers: list[NameServer]
) -> None:
    """A controller that was cut off says what was before."""
    assert seen(looking).in_sync[0] == ("rocketmq-1", "rocketmq-3")
    servers[1].state = state(ONE, 3, (ONE, TWO))  # type: ignore[assignment]
    asked = servers[1].asked[codes.CONTROLLER_GET_SYNC_STATE_DATA]

    def look() -> bool:
        assert looking.observe(5).in_sync[0] == ("rocketmq-1", "rocketmq-3")
        return servers[1].asked[codes.CONTROLLER_GET_SYNC_STATE_DATA] > asked + 3

    wait_until(look, "three answers", 10, every_s=0.005)
    servers[1].state = state(TWO, 5, (TWO,))  # type: ignore[assignment]
    wait_until(lambda: looking.observe(5).in_sync[0] == ("rocketmq-2",), "it", 10, every_s=0.005)


@pytest.mark.parametrize("late", [0, 1, 2])
def test_the_leader_is_whom_most_name_servers_tell(
    looking: RocketmqObserver, servers: list[NameServer], late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where these tell different slaves, as brokers register with one after the other; the
    one that goes on telling the old master dissents, after a while."""
    monkeypatch.setattr(observer, "_DISSENT_S", 60.0)
    first, second = (server for n, server in enumerate(servers) if n != late)
    servers[late].at = {"0": ONE, "1": TWO, "2": THREE}
    first.at, second.at = {"0": TWO}, {"0": TWO, "2": THREE}
    view = seen(looking)
    assert view.leaders[0] == "rocketmq-2"
    assert view.dissenting == ()
    monkeypatch.setattr(observer, "_DISSENT_S", 0.0)
    view = seen(looking)
    assert view.leaders[0] == "rocketmq-2"
    assert view.dissenting == (f"namesrv-{late + 1}",)


def test_a_look_at_nobody_is_an_error(looking: RocketmqObserver, servers: list[NameServer]) -> None:
    """And so is a topic that nobody knows; neither is a cluster without a master."""
    for server in servers:
        server.at = None
    with pytest.raises(ClusterError, match="knows topic"):
        looking.observe(5)
    for server in servers:
        server.silent = True
    with pytest.raises(DeadlineExceeded):
        looking.observe(0.1)


def test_a_group_is_told_by_the_master(
    looking: RocketmqObserver, servers: list[NameServer]
) -> None:
    """Its backlog is from its position to the end; of a queue without a position nothing is said.
    Without members it is empty."""
    with pytest.raises(ClusterError, match="nobody is master"):
        looking.group("group", 5)
    for server in servers:
        server.at = {"0": str(servers[0].address), "1": str(servers[1].address)}
    seen(looking)
    servers[0].positions = {"0": 20}
    assert looking.group("group", 5) == Group("empty", 0, {0: 30})
    servers[0].members = ["a", "b"]
    servers[0].positions = {"0": 20, "1": 50}
    assert looking.group("group", 5) == Group("stable", 2, {0: 30, 1: 0})


def test_the_active_controller_is_whom_most_name(
    looking: RocketmqObserver, servers: list[NameServer]
) -> None:
    """One that was cut off goes on naming itself."""
    servers[0].leads, servers[0].peers = True, [servers[0]]
    servers[1].peers = servers[2].peers = [servers[1]]
    assert {seen(looking).controller for _ in range(20)} == {"namesrv-2"}


def test_who_was_in_sync_once_need_not_be(
    looking: RocketmqObserver, servers: list[NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody says so any more; and an older set of the same master is not taken."""
    for epoch, told in ((2, (THREE,)), (1, (THREE, ONE))):
        about = state(THREE, 4, told)
        servers[1].state = {**about, "syncStateSetEpoch": epoch}
        if epoch == 2:
            wait_until(
                lambda: looking.observe(5).in_sync.get(0) == ("rocketmq-3",),
                "the set", 10, every_s=0.005,
            )  # fmt: skip
    assert {seen(looking).in_sync[0] for _ in range(20)} == {("rocketmq-3",)}
    monkeypatch.setattr(observer, "_SILENT_S", 0.05)
    servers[1].leads = False
    wait_until(lambda: not looking.observe(5).in_sync, "no set", 10, every_s=0.005)


def test_divided_name_servers_are_decided_by_the_controllers(
    servers: list[NameServer],
) -> None:
    """Of two, one may know the new master already."""
    servers[0].at = {"0": ONE}
    servers[2].at = None
    looking = observer_of(servers)
    wait_until(
        lambda: looking.observe(5).leaders[0] == "rocketmq-3", "the elected", 10, every_s=0.005
    )
    assert {seen(looking).leaders[0] for _ in range(20)} == {"rocketmq-3"}
    looking.close()


def test_a_slow_name_server_is_alive(
    looking: RocketmqObserver, servers: list[NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answered a moment ago."""
    seen(looking)
    monkeypatch.setattr(observer, "_ALIVE_S", 60)
    servers[0].silent = True
    assert "namesrv-1" in looking.observe(5).alive
