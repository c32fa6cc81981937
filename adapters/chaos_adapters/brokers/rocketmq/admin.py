"""Preparing a RocketMQ cluster, and looking at it, one question at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from chaos.errors import ClusterError
from chaos.spi import Address, Settings
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.lines import ask
from chaos_adapters.brokers.rocketmq.routes import Route, address, route, route_fields
from chaos_adapters.brokers.rocketmq.topology import CLUSTER, GROUP, is_broker

T = TypeVar("T")
_EACH_S = 1.0
SYSTEM = (
    "RMQ_SYS_", "rmq_sys_", "SCHEDULE_TOPIC", "TBW102", "SELF_TEST", "OFFSET_MOVED",
    "BenchmarkTest", "TRANS_CHECK", "CID_", "TOOLS_", "FILTERSRV", "__MONITOR", "DefaultHeartBeat",
    "%RETRY%CID_", "%RETRY%TOOLS_",
)  # fmt: skip
"""What the names of topics and groups begin with that a broker makes for itself."""
_DELETED = (codes.SUCCESS, codes.SYSTEM_ERROR)
_OWN_TOPICS = (CLUSTER, GROUP, f"{CLUSTER}_REPLY_TOPIC")


def servers(clients: Mapping[str, Address]) -> list[Address]:
    """The name servers."""
    return [at for name, at in clients.items() if not is_broker(name)]


def brokers(clients: Mapping[str, Address]) -> dict[str, Address]:
    """The brokers by name."""
    return {name: at for name, at in clients.items() if is_broker(name)}


def names(clients: Mapping[str, Address]) -> dict[str, str]:
    """An address as a broker tells its own -> whose it is."""
    return {str(at): name for name, at in clients.items()}


def group_members(server: Address, timeout_s: float) -> Route:
    """The brokers that have registered with a name server."""
    about = ask(server, codes.GET_BROKER_CLUSTER_INFO, {}, timeout_s).json()
    told = (about.get("brokerAddrTable") or {}).get(GROUP) or {}
    found = {int(number): address(at) for number, at in (told.get("brokerAddrs") or {}).items()}
    return Route(found)


@dataclass(frozen=True)
class SyncState:
    """What the controllers say of the group: addresses, also of those that they count as dead, and
    the epochs of master and set."""

    master: str = ""
    in_sync: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    epoch: tuple[int, int] = (-1, -1)
    dead: tuple[str, ...] = ()


def sync_state(about: Any) -> SyncState:  # noqa: ANN401 - whatever the controller says
    """An answer to CONTROLLER_GET_SYNC_STATE_DATA."""
    told = (about.get("replicasInfoTable") or {}).get(GROUP)
    if not told:
        return SyncState()
    both = {name: told.get(name) or () for name in ("inSyncReplicas", "notInSyncReplicas")}
    inside, outside = (
        tuple(each["brokerAddress"] for each in replicas) for replicas in both.values()
    )
    dead = (
        each["brokerAddress"]
        for replicas in both.values()
        for each in replicas
        if each.get("alive") is False
    )
    return SyncState(
        told.get("masterAddress") or "",
        inside,
        outside,
        (told.get("masterEpoch", -1), told.get("syncStateSetEpoch", -1)),
        tuple(dead),
    )


def controllers(clients: Mapping[str, Address], timeout_s: float) -> dict[str, Address]:
    """Where the controller of each name server listens, as the name servers' own configuration
    says; in the order of the name servers. Raises ClusterError."""
    named = [name for name in clients if not is_broker(name)]
    problem = "there are no name servers"
    for name in named:
        try:
            text = ask(clients[name], codes.GET_NAMESRV_CONFIG, {}, timeout_s).body.decode()
        except ClusterError as error:
            problem = str(error)
            continue
        told = dict(line.partition("=")[::2] for line in text.splitlines())
        if not (listed := _listed(told)):
            return {}
        return dict(zip(named, map(address, listed), strict=True))
    raise ClusterError(f"no name server tells where the controllers are: {problem}")


def _listed(told: Mapping[str, str]) -> list[str]:
    """The controllers of either kind, `host:port`; DLedger's are `number-host:port`."""
    jraft = told.get("jRaftControllerRPCAddr", "").replace("\\:", ":")
    dledger = told.get("controllerDLegerPeers", "").replace("\\:", ":")
    if dledger:
        return [peer.partition("-")[2] for peer in dledger.split(";")]
    return jraft.split(",") if jraft else []


def missing(clients: Mapping[str, Address], controlled: bool, timeout_s: float) -> str:
    """What the cluster still lacks of being whole."""
    masters: dict[str, Address] = {}
    try:
        for name, at in clients.items():
            if not is_broker(name):
                found = group_members(at, timeout_s)
                if len(found.brokers) < len(brokers(clients)):
                    return f"{name} knows {len(found.brokers)} brokers"
                if not found.master:
                    return f"{name} knows no master"
                masters[name] = found.master
        if dissent := _dissent(masters):
            return dissent
        for at in brokers(clients).values():
            ask(at, codes.GET_BROKER_CONFIG, {}, timeout_s)
        return _out_of_sync(clients, timeout_s) if controlled else ""
    except ClusterError as error:
        return str(error)


def _dissent(masters: Mapping[str, Address]) -> str:
    """Which name servers tell another master than most do."""
    said = list(masters.values())
    most = max(said, key=said.count, default=None)
    other = [name for name, master in masters.items() if master != most]
    return f"{', '.join(other)}: another master than {most}" if other else ""


def _out_of_sync(clients: Mapping[str, Address], timeout_s: float) -> str:
    leaders = set()
    for at in controllers(clients, timeout_s).values():
        told = ask(at, codes.CONTROLLER_GET_METADATA_INFO, {}, timeout_s)
        leaders.add(told.fields.get("controllerLeaderAddress", ""))
    if len(leaders) != 1 or "" in leaders:
        return "the controllers do not agree on who is active"
    state = read_sync_state(address(leaders.pop()), timeout_s)
    lacking = len(brokers(clients)) - len(state.in_sync)
    return f"{lacking} brokers are not in the SyncStateSet" if lacking else ""


def read_sync_state(controller: Address, timeout_s: float) -> SyncState:
    """Of the group, from the active controller."""
    body = f'["{GROUP}"]'.encode()
    told = ask(controller, codes.CONTROLLER_GET_SYNC_STATE_DATA, {}, timeout_s, body)
    return sync_state(told.json())


def majority(said: Sequence[T], voters: int) -> T | None:
    """What more than half of so many voters say; None: nothing, or nothing that is something."""
    return next((each for each in said if each and 2 * said.count(each) > voters), None)


def find_master(clients: Mapping[str, Address], timeout_s: float) -> Address:
    """Who is master, as most of the name servers that answer say. Raises ClusterError."""
    problem, said = "no name server knows a master", list[Address | None]()
    for server in servers(clients):
        try:
            said.append(group_members(server, timeout_s).master)
        except ClusterError as error:
            problem = str(error)
    if found := majority(said, len(said)):
        return found
    raise ClusterError("the name servers tell different masters" if any(said) else problem)


def agreed_master(clients: Mapping[str, Address], timeout_s: float) -> Address:
    """Who is master by the name servers and, where there are any, by the controllers: a name server
    that was cut off goes on telling the old one. Raises ClusterError."""
    found = find_master(clients, timeout_s)
    if listed := controllers(clients, timeout_s):
        elected = read_sync_state(_active(listed, timeout_s), timeout_s).master
        if elected != str(found):
            raise ClusterError(f"name servers tell the master {found}, controllers {elected}")
    return found


def _active(listed: Mapping[str, Address], timeout_s: float) -> Address:
    """The controller that most of those that answer name: one that was cut off names itself."""
    said = list[str]()
    for at in listed.values():
        with suppress(ClusterError):
            told = ask(at, codes.CONTROLLER_GET_METADATA_INFO, {}, timeout_s)
            said.append(told.fields.get("controllerLeaderAddress", ""))
    if found := majority(said, len(said)):
        return address(found)
    raise ClusterError("the controllers do not agree on who is active")


def prepare(
    clients: Mapping[str, Address], topic: str, queues: int, settings: Settings, timeout_s: float
) -> None:
    """Create the topic on every broker, and wait until all name servers tell it.

    Slaves copy the list of topics from their master only each 12 s or so; one that became master
    before that would not know the topic.
    """
    attributes = ",".join(f"+{name}={value}" for name, value in settings.items())
    fields = {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues,
        "writeQueueNums": queues, "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0,
        "order": False, "attributes": attributes,
    }  # fmt: skip
    master = find_master(clients, timeout_s)
    slaves = [at for at in brokers(clients).values() if at != master]
    for at in (master, *slaves):
        ask(at, codes.UPDATE_AND_CREATE_TOPIC, fields, timeout_s)

    def told() -> bool:
        for server in servers(clients):
            answer = ask(server, codes.GET_ROUTEINFO_BY_TOPIC, route_fields(topic), timeout_s,
                         fine=(codes.SUCCESS, codes.TOPIC_NOT_EXIST))  # fmt: skip
            found = route(answer)
            if found.queues != queues or len(found.brokers) < len(brokers(clients)):
                return False
        return True

    wait_until(told, f"all name servers to tell {topic}", timeout_s, every_s=0.05)


def reset(clients: Mapping[str, Address], timeout_s: float) -> None:
    """Delete all topics and groups of earlier runs; prove that none is left."""
    deadline = time.monotonic() + timeout_s
    for at in brokers(clients).values():
        for topic in _topics(at):
            # Without `timerWheelEnable` 5.3.3 fails at the last step, when the topic is gone.
            ask(at, codes.DELETE_TOPIC_IN_BROKER, {"topic": topic}, _EACH_S, fine=_DELETED)
            for server in servers(clients):
                fields = {"topic": topic, "clusterName": CLUSTER}
                ask(server, codes.DELETE_TOPIC_IN_NAMESRV, fields, _EACH_S)
        for group in _groups(at):
            about = {"groupName": group, "cleanOffset": "true"}
            ask(at, codes.DELETE_SUBSCRIPTIONGROUP, about, _EACH_S)
    if left := [t for at in brokers(clients).values() for t in (*_topics(at), *_groups(at))]:
        raise ClusterError(f"these are still there: {', '.join(left)}")
    left_s = max(1.0, deadline - time.monotonic())
    wait_until(lambda: not missing(clients, _controlled(clients), 2), "a whole cluster", left_s)


def _controlled(clients: Mapping[str, Address]) -> bool:
    return bool(controllers(clients, _EACH_S))


def _topics(at: Address) -> list[str]:
    table = ask(at, codes.GET_ALL_TOPIC_CONFIG, {}, _EACH_S).json()["topicConfigTable"]
    return [name for name in table if not name.startswith(SYSTEM) and name not in _OWN_TOPICS]


def _groups(at: Address) -> list[str]:
    told = ask(at, codes.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, {}, _EACH_S).json()
    return [name for name in told["subscriptionGroupTable"] if not name.startswith(SYSTEM)]


def fields_of(at: Address, timeout_s: float) -> Mapping[str, str]:
    """A broker's configuration as it is in force."""
    text = ask(at, codes.GET_BROKER_CONFIG, {}, timeout_s).body.decode()
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def by_name(
    clients: Mapping[str, Address], found: Sequence[str] | Sequence[Address]
) -> tuple[str, ...]:
    """The nodes with these addresses, in the order of their names; strangers are left out."""
    known = names(clients)
    return tuple(sorted(known[str(at)] for at in found if str(at) in known))
