"""Preparing a RocketMQ cluster, and what of its settings is in force: brokers, name servers and
controllers that say what a test wants."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Settings
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic, codes
from chaos_adapters.brokers.rocketmq.admin import agreed_master
from tests.unit.rocketmq_server import Answer, Server

NAMES = ("namesrv-1", "namesrv-2", "rocketmq-1", "rocketmq-2")


class Node(Server):
    """A name server with a controller, or a broker; all of them look at one `cluster`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.knows: Sequence[str] = ("rocketmq-1", "rocketmq-2")
        self.master = "rocketmq-2"
        self.active = "namesrv-1"
        self.topics: dict[str, Mapping[str, str]] = {"TBW102": {}, "chaos": {}}
        self.groups = {"CID_ONS-HTTP-PROXY", "TOOLS_CONSUMER"}
        self.config = ""
        self.controller_config = ""
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        if code == codes.GET_BROKER_CLUSTER_INFO:
            found = {"0" if name == self.master else name[-1]: name for name in self.knows}
            told = {number: str(self.cluster.at(name)) for number, name in found.items()}
            table = {"rocketmq": {"brokerAddrs": told}}
            return codes.SUCCESS, {}, json.dumps({"brokerAddrTable": table}).encode()
        if code in (codes.GET_NAMESRV_CONFIG, codes.GET_BROKER_CONFIG):
            assert (code == codes.GET_NAMESRV_CONFIG) == self.name.startswith("namesrv")
            return codes.SUCCESS, {}, (self.config + self.cluster.controllers()).encode()
        if code == codes.GET_CONTROLLER_CONFIG:
            return codes.SUCCESS, {}, self.controller_config.encode()
        if code == codes.CONTROLLER_GET_METADATA_INFO:
            active = str(self.cluster.at(self.active)) if self.active else ""
            return codes.SUCCESS, {"controllerLeaderAddress": active}, b""
        if code == codes.CONTROLLER_GET_SYNC_STATE_DATA:
            return codes.SUCCESS, {}, json.dumps(self.cluster.sync_state()).encode()
        return self.topic(code, fields)

    def topic(self, code: int, fields: Mapping[str, str]) -> Answer:
        """Topics and groups."""
        if code == codes.UPDATE_AND_CREATE_TOPIC:
            self.cluster.made.append((self.name, fields["topic"]))
            pairs = (pair.partition("=") for pair in fields["attributes"].split(",") if pair)
            self.topics[fields["topic"]] = {name: value for name, _, value in pairs}
            return codes.SUCCESS, {}, b""
        if code == codes.GET_TOPIC_CONFIG:
            told = {"attributes": self.topics.get(fields["topic"], {})}
            return codes.SUCCESS, {}, json.dumps(told).encode()
        if code == codes.GET_ALL_TOPIC_CONFIG:
            return codes.SUCCESS, {}, json.dumps({"topicConfigTable": self.topics}).encode()
        if code == codes.GET_ALL_SUBSCRIPTIONGROUP_CONFIG:
            table = dict.fromkeys(self.groups, "")
            return codes.SUCCESS, {}, json.dumps({"subscriptionGroupTable": table}).encode()
        if code == codes.DELETE_TOPIC_IN_BROKER and not self.cluster.keeps:
            del self.topics[fields["topic"]]
        if code == codes.DELETE_SUBSCRIPTIONGROUP:
            self.groups.remove(fields["groupName"])
        return codes.SUCCESS, {}, b""


class Cluster:
    """Two of either. `in_sync` is what controllers say; `made`: who was told to make which topic;
    while it `keeps`, topics stay."""

    def __init__(self) -> None:
        self.in_sync = ["rocketmq-1", "rocketmq-2"]
        self.made: list[tuple[str, str]] = []
        self.keeps = False
        self.nodes: dict[str, Node] = {}
        for name in NAMES:
            self.nodes[name] = Node(self, name)
        for name in NAMES[:2]:
            at = {str(n): str(self.at(broker)) for n, broker in enumerate(NAMES[2:])}
            self.nodes[name].at = at

    def at(self, name: str) -> Address:
        """Where a node is."""
        return self.nodes[name].address

    @property
    def clients(self) -> Mapping[str, Address]:
        """Of all."""
        return {name: node.address for name, node in self.nodes.items()}

    def controllers(self) -> str:
        """A part of the configuration."""
        listed = ",".join(str(self.at(name)).replace(":", "\\:") for name in NAMES[:2])
        return f"jRaftControllerRPCAddr={listed}\n"

    def sync_state(self) -> object:
        """Of the group."""
        both = {True: [], False: []}  # type: dict[bool, list[object]]
        for name in NAMES[2:]:
            both[name in self.in_sync].append({"brokerAddress": str(self.at(name))})
        about = {
            "masterAddress": str(self.at("rocketmq-2")), "masterEpoch": 1,
            "inSyncReplicas": both[True], "notInSyncReplicas": both[False],
        }  # fmt: skip
        return {"replicasInfoTable": {"rocketmq": about}}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    for node in found.nodes.values():
        node.close()


def missing(cluster: Cluster, **values: str) -> str:
    return Rocketmq(replicas=2, name_servers=2, **values).ready(cluster.clients, 2)  # type: ignore[arg-type]


def test_a_cluster_is_whole_when_everybody_says_so(cluster: Cluster) -> None:
    """All name servers know all brokers and a master, controllers agree, all are in sync."""
    assert missing(cluster) == ""


def test_what_is_missing_is_told(cluster: Cluster) -> None:
    """By each of those who say it, one is enough; who is in sync, only controllers say."""
    second = cluster.nodes["namesrv-2"]
    second.knows = ("rocketmq-2",)
    assert missing(cluster) == "namesrv-2 knows 1 brokers"
    second.knows, second.master = ("rocketmq-1", "rocketmq-2"), ""
    assert missing(cluster) == "namesrv-2 knows no master"
    second.master = "rocketmq-1"
    assert missing(cluster).startswith("namesrv-2: another master than ")
    second.master = "rocketmq-2"
    for active in ("namesrv-2", ""):
        second.active = active
        assert missing(cluster) == "the controllers do not agree on who is active"
    second.active = "namesrv-1"
    cluster.in_sync = ["rocketmq-2"]
    assert missing(cluster) == "1 brokers are not in the SyncStateSet"
    assert missing(cluster, replication="SYNC_MASTER") == ""


def test_a_master_is_whom_name_servers_and_controllers_tell(cluster: Cluster) -> None:
    """Neither one name server's word counts nor that of all of them against the controllers."""
    first, second = cluster.nodes["namesrv-1"], cluster.nodes["namesrv-2"]
    assert agreed_master(cluster.clients, 2) == cluster.at("rocketmq-2")
    first.master = "rocketmq-1"
    with pytest.raises(ClusterError, match="different masters"):
        agreed_master(cluster.clients, 2)
    second.master = "rocketmq-1"
    with pytest.raises(ClusterError, match="controllers"):
        agreed_master(cluster.clients, 2)


def test_a_topic_is_made_on_all_brokers(cluster: Cluster) -> None:
    """On the master first: a slave that becomes master must know it. Every name server has to tell
    it, from every broker and with all its queues."""
    broker, stream = Rocketmq(), Topic(name="run", settings={"message.type": "NORMAL"})
    broker.prepare(cluster.clients, stream, 5)
    assert cluster.made == [("rocketmq-2", "run"), ("rocketmq-1", "run")]
    assert broker.in_force(cluster.clients, stream, 2)["stream"] == {"message.type": "NORMAL"}
    with pytest.raises(DeadlineExceeded, match="to tell run"):
        broker.prepare(cluster.clients, Topic(name="run", partitions=5), 0.2)
    cluster.nodes["namesrv-2"].at = {"0": str(cluster.at("rocketmq-2"))}
    with pytest.raises(DeadlineExceeded, match="to tell run"):
        broker.prepare(cluster.clients, stream, 0.2)


def test_a_kept_cluster_is_as_good_as_new(cluster: Cluster) -> None:
    """Topics and groups of runs are gone, also those of what was handed back; a broker's own stay.
    What cannot be deleted is told."""
    for node in cluster.nodes.values():
        node.topics |= {"run": {}, "%RETRY%group": {}, "%DLQ%group": {}}
        node.groups.add("group")
    Rocketmq().reset(cluster.clients, 5)
    for name in NAMES[2:]:
        assert set(cluster.nodes[name].topics) == {"TBW102", "chaos"}
        assert cluster.nodes[name].groups == {"CID_ONS-HTTP-PROXY", "TOOLS_CONSUMER"}
    cluster.nodes["rocketmq-2"].topics["run"] = {}
    cluster.keeps = True
    with pytest.raises(ClusterError, match="still there: run"):
        Rocketmq().reset(cluster.clients, 5)


BROKERS: Settings = {"flushDiskType": "SYNC_FLUSH", "logicalDiskSpaceCleanForciblyThreshold": 1}
SERVERS: Settings = {
    "enableElectUncleanMaster": False, "waitSecondsForService": 5,
    "scanNotActiveBrokerInterval": 100,
}  # fmt: skip
HEEDED = "flushDiskType=SYNC_FLUSH\nlogicalDiskSpaceCleanForciblyThreshold=1.0\n"


def unheeded(cluster: Cluster, stream: Topic) -> Sequence[str]:
    broker = Rocketmq(settings=BROKERS, controller_settings=SERVERS)
    return broker.unheeded(stream, broker.in_force(cluster.clients, stream, 2))


def test_what_is_not_in_force_is_told_of_each_node(cluster: Cluster) -> None:
    """Settings of brokers of brokers, attributes of the topic; truth is written in small letters.
    A name server has the lines of its controller as they were written, so what that one made of
    them counts, and it alone; what both have, counts of both."""
    stream = Topic(name="run", settings={"message.type": "NORMAL"})
    Rocketmq().prepare(cluster.clients, stream, 5)
    lines = "".join(f"{name}={str(value).lower()}\n" for name, value in SERVERS.items())
    for name, node in cluster.nodes.items():
        node.config = HEEDED if name in NAMES[2:] else lines
        node.controller_config = lines
    assert unheeded(cluster, stream) == []
    cluster.nodes["rocketmq-1"].config = HEEDED.replace("SYNC_FLUSH", "ASYNC_FLUSH")
    first, second = (cluster.nodes[name] for name in NAMES[:2])
    first.config = lines.replace("waitSecondsForService=5", "waitSecondsForService=45")
    first.controller_config = lines.replace("Master=false", "Master=true").replace("=100", "=5000")
    second.config = ""
    second.controller_config = ""
    cluster.nodes["rocketmq-2"].topics["run"] = {"message.type": "FIFO"}
    assert unheeded(cluster, stream) == [
        "namesrv-1 has waitSecondsForService=45, not 5",
        "namesrv-2 does not know waitSecondsForService",
        "namesrv-2 does not know scanNotActiveBrokerInterval",
        "rocketmq-1 has flushDiskType=ASYNC_FLUSH, not SYNC_FLUSH",
        "controller of namesrv-1 has enableElectUncleanMaster=true, not false",
        "controller of namesrv-1 has scanNotActiveBrokerInterval=5000, not 100",
        "controller of namesrv-2 does not know enableElectUncleanMaster",
        "controller of namesrv-2 does not know scanNotActiveBrokerInterval",
        "stream has message.type=FIFO, not NORMAL",
    ]
