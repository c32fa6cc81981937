"""What `chaos validate` refuses of a cluster of RocketMQ, as its servers would take it without a
word, and what it lets through."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.experiment import load_experiment
from chaos.spi import Settings
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic, versions
from chaos_adapters.brokers.rocketmq.topology import _SMALL
from chaos_adapters.runtimes.jars import parse_lock
from chaos_adapters.runtimes.local import Local

Value = str | int | float | bool


def told(
    brokers: Settings | None = None,
    servers: Settings | None = None,
    topic: Settings | None = None,
    **cluster: object,
) -> dict[str, str]:
    """What is wrong, by path."""
    broker = Rocketmq(settings=brokers or {}, controller_settings=servers or {}, **cluster)  # type: ignore[arg-type]
    return dict(broker.problems(Topic(settings=topic or {})))


@pytest.mark.parametrize("version", versions.locked())
def test_a_version_has_its_jars_and_its_settings(version: str) -> None:
    """Name server and broker of just this version, and for each server what it reads from a file,
    in which class ever, with the words that there are."""
    jars = {jar.artifact: jar.version for jar in parse_lock(versions.lock(version).read_text())}
    assert jars["rocketmq-namesrv"] == jars["rocketmq-broker"] == version
    known = versions.known_settings(version)
    assert known["broker"].items() >= {
        "minInSyncReplicas": "int", "allAckInSyncStateSet": "boolean",
        "messageDelayLevel": "String",
        "transactionCheckInterval": "long", "flushDiskType": "ASYNC_FLUSH|SYNC_FLUSH",
        "logicalDiskSpaceCleanForciblyThreshold": "double", "serverWorkerThreads": "int",
        "clientWorkerThreads": "int", "authenticationEnabled": "boolean",
    }.items()  # fmt: skip
    assert known["namesrv"].items() >= {
        "needWaitForService": "boolean", "serverWorkerThreads": "int",
        "scanNotActiveBrokerInterval": "long",
    }.items()  # fmt: skip
    assert known["controller"].items() >= {
        "enableElectUncleanMaster": "boolean", "jRaftElectionTimeoutMs": "int",
        "scanNotActiveBrokerInterval": "long",
    }.items()  # fmt: skip
    assert known["topic"]["cleanup.policy"] == "COMPACTION|DELETE"
    assert told(version=version) == {}
    assert Local().problems(Rocketmq(version=version)) == []


def test_our_own_settings_are_right() -> None:
    """What the adapter writes for every broker is held against the list as well."""
    assert told(_SMALL) == {}


def test_a_misspelled_setting_is_told_with_the_right_spelling() -> None:
    """Brokers would take it, and say that it is in force."""
    assert told({"minInsyncReplicas": 2}, {"enableElectUncleanMasters": True}, {"no.such": 1}) == {
        "cluster.settings.minInsyncReplicas":
            'is no broker setting of RocketMQ 5.3.3; did you mean "minInSyncReplicas"?',
        "cluster.controller_settings.enableElectUncleanMasters":
            "is no name server or controller setting of RocketMQ 5.3.3; did you mean "
            '"enableElectUncleanMaster"?',
        "stream.settings.no.such": "is no topic setting of RocketMQ 5.3.3",
    }  # fmt: skip


def test_a_setting_in_the_wrong_section_is_told() -> None:
    """Each server reads a file of its own."""
    assert told({"enableElectUncleanMaster": True}, {"minInSyncReplicas": 2}) == {
        "cluster.settings.enableElectUncleanMaster":
            "is no setting of a broker: write it into cluster.controller_settings",
        "cluster.controller_settings.minInSyncReplicas":
            "is no setting of a name server or controller: write it into cluster.settings",
    }  # fmt: skip


def test_a_version_without_a_list_is_held_against_those_that_have_one() -> None:
    """Nothing else could tell what its brokers do not know."""
    assert told({"minInSyncReplicas": 2}, version="5.3.1") == {}
    wrong = told({"minInsyncReplicas": "two"}, version="5.3.1")
    assert "minInSyncReplicas" in wrong["cluster.settings.minInsyncReplicas"]


def test_what_code_of_the_users_reads_is_let_through() -> None:
    """A plug-in of the store has settings of its own, which no list can have."""
    plugged: Settings = {"messageStorePlugIn": "org.x.Y", "tieredStoreFilePath": "/x"}
    assert told(plugged) == {}
    wrong: Settings = {**plugged, "minInSyncReplicas": "two", "a b": 1, "c": "\n"}
    assert {path.rpartition(".")[2] for path in told(wrong)} == {"minInSyncReplicas", "a b", "c"}


@pytest.mark.parametrize(("name", "value"), [
    ("minInSyncReplicas", 2), ("minInSyncReplicas", "2"), ("allAckInSyncStateSet", True),
    ("allAckInSyncStateSet", "false"), ("flushDiskType", "SYNC_FLUSH"),
    ("logicalDiskSpaceCleanForciblyThreshold", 0.5), ("maxChecksumRange", 2**63 - 1),
    ("logicalDiskSpaceCleanForciblyThreshold", 1), ("maxMessageSize", -1), ("regionId", ""),
    ("regionId", "a b=c"), ("deleteWhen", "04"), ("popReviveMaxAttemptTimes", 0),
])  # fmt: skip
def test_values_that_are_read_as_they_are_written(name: str, value: Value) -> None:
    """By their kinds; text may stand for a number, or for the truth."""
    assert told({name: value}) == {}


@pytest.mark.parametrize(("name", "value", "what"), [
    ("minInSyncReplicas", "two", "'two' should be a whole number"),
    ("minInSyncReplicas", 1.5, "1.5 should be a whole number"),
    ("minInSyncReplicas", True, "True should be a whole number"),
    ("minInSyncReplicas", "02", "'02' should be a whole number"),
    ("minInSyncReplicas", "٣", "'٣' should be a whole number"),
    ("maxMessageSize", 2**31, "does not fit: -2147483648 to 2147483647 do"),
    ("maxChecksumRange", 2**63, "does not fit"),
    ("allAckInSyncStateSet", "yes", "'yes' should be true or false"),
    ("allAckInSyncStateSet", 1, "1 should be true or false"),
    ("allAckInSyncStateSet", " true", "' true' should be true or false"),
    ("flushDiskType", "SYNC", "'SYNC' should be one of ASYNC_FLUSH, SYNC_FLUSH"),
    ("logicalDiskSpaceCleanForciblyThreshold", "much", "'much' should be a number"),
    ("logicalDiskSpaceCleanForciblyThreshold", float("nan"), "nan should be a number"),
    ("regionId", "a\nallAckInSyncStateSet=false", "should be one line of ASCII"),
    ("regionId", "a\\", "without backslashes"), ("regionId", " a", "without blanks"),
    ("regionId", "ä", "should be one line of ASCII"),
])  # fmt: skip
def test_values_that_would_not_be_read_so_are_refused(name: str, value: Value, what: str) -> None:
    """RocketMQ passes over what it cannot parse, takes `yes` for false, and reads a file of
    properties: a backslash joins lines, a line break makes another setting."""
    found = told({name: value})
    assert list(found) == [f"cluster.settings.{name}"]
    assert what in found[f"cluster.settings.{name}"]


@pytest.mark.parametrize("name", ["a\nminInSyncReplicas", " brokerRole", "", "ä"])
def test_names_are_never_more_than_a_name(name: str) -> None:
    """A line break in one would make another setting, blanks another name."""
    assert list(told({name: 1})) == [f"cluster.settings.{name}"]


def test_attributes_of_topics_are_held_against_the_list() -> None:
    """A comma would begin another one."""
    fine: Settings = {"message.type": "NORMAL", "reserve.time": 1000, "queue.type": "SimpleCQ"}
    assert told(topic=fine) == {}
    for wrong in ("NORMAL,+cleanup.policy=COMPACTION", "normal", True, 1.5):
        assert list(told(topic={"message.type": wrong})) == ["stream.settings.message.type"]
    assert list(told(topic={"reserve.time": "long"})) == ["stream.settings.reserve.time"]


@pytest.mark.parametrize(("name", "value"), [
    ("duplicationEnable", True), ("enableDLegerCommitLog", True), ("haMasterAddress", "x:1"),
    ("storePathEpochFile", "/x"), ("brokerId", 4), ("brokerRole", "SLAVE"),
])  # fmt: skip
def test_what_the_run_makes_is_not_for_an_experiment_to_set(name: str, value: Value) -> None:
    """Brokers would take it without a word, and caveats would not know; what to do is told."""
    what = told({name: value})[f"cluster.settings.{name}"]
    assert what.startswith("is not for an experiment to set: ")
    assert list(told({}, {"controllerType": "jRaft"})) == [
        "cluster.controller_settings.controllerType"
    ]


def test_more_replicas_in_sync_than_there_are_are_refused() -> None:
    """As many are not."""
    assert "4 of 3 replicas" in told({"minInSyncReplicas": 4})["cluster.settings.minInSyncReplicas"]
    assert told({"minInSyncReplicas": 3, "inSyncReplicas": "3"}) == {}


@pytest.mark.parametrize(("name", "value", "fine"), [
    ("aclEnable", True, False), ("authenticationEnabled", "true", False), ("useTLS", True, False),
    ("authorizationEnabled", True, "false"), ("brokerPermission", 4, 6),
    ("autoCreateSubscriptionGroup", False, True), ("slaveReadEnable", False, "true"),
    ("messageDelayLevel", "1h 2h", "1s 5s 10s 30s 7m"),
    ("messageDelayLevel", "1s 5s 10s 30s  1m", "1s 5s 10s 30s"),
    ("registerNameServerPeriod", 9_999, 10_000), ("registerNameServerPeriod", 60_001, "60000"),
])  # fmt: skip
def test_what_a_run_cannot_work_with_is_refused(name: str, value: Value, fine: Value) -> None:
    """It would fail a minute later, wait for hours, or be something else than what was set."""
    assert list(told({name: value})) == [f"cluster.settings.{name}"]
    assert told({name: fine}) == {}


@pytest.mark.parametrize(("cluster", "brokers", "servers", "path"), [
    ({"replication": "SYNC_MASTER"}, {"minInSyncReplicas": 2}, {}, "settings.minInSyncReplicas"),
    ({"replication": "SYNC_MASTER"}, {"allAckInSyncStateSet": True}, {},
     "settings.allAckInSyncStateSet"),
    ({"replication": "ASYNC_MASTER"}, {"inSyncReplicas": 2}, {}, "settings.inSyncReplicas"),
    ({"replication": "SYNC_MASTER"}, {}, {"enableElectUncleanMaster": True},
     "controller_settings.enableElectUncleanMaster"),
    ({"replication": "SYNC_MASTER", "controllers": "DLedger"}, {}, {}, "controllers"),
    ({}, {"enableAutoInSyncReplicas": True}, {}, "settings.enableAutoInSyncReplicas"),
    ({}, {}, {"mappedFileSize": 1 << 20}, "controller_settings.mappedFileSize"),
    ({"controllers": "DLedger"}, {}, {"jRaftElectionTimeoutMs": 500},
     "controller_settings.jRaftElectionTimeoutMs"),
    ({"version": "5.1.4"}, {}, {}, "controllers"),
    ({"version": "5.3.3\n"}, {}, {}, "version"),
    ({"version": "5.3"}, {}, {}, "version"),
])  # fmt: skip
def test_what_does_nothing_in_this_form_is_refused(
    cluster: dict[str, object], brokers: Settings, servers: Settings, path: str
) -> None:
    """It would weaken nothing and promise nothing, whatever its writer thinks."""
    assert list(told(brokers, servers, **cluster)) == [f"cluster.{path}"]


@pytest.mark.parametrize(("cluster", "brokers", "servers"), [
    ({}, {"minInSyncReplicas": 2, "allAckInSyncStateSet": True, "inSyncReplicas": 2},
     {"enableElectUncleanMaster": True, "jRaftScanWaitTimeoutMs": 2_000_000_000}),
    ({"controllers": "DLedger"}, {}, {"mappedFileSize": 1 << 20, "scanInactiveMasterInterval": 5}),
    ({"controllers": "DLedger", "version": "5.1.4"}, {}, {}),
    ({"version": "5.2.0"}, {}, {}),
    ({"replication": "SYNC_MASTER"},
     {"inSyncReplicas": 2, "enableSlaveActingMaster": True, "enableAutoInSyncReplicas": True,
      "minInSyncReplicas": 2}, {"scanNotActiveBrokerInterval": 100}),
    ({"replication": "ASYNC_MASTER"}, {"flushDiskType": "SYNC_FLUSH"}, {}),
])  # fmt: skip
def test_what_does_something_in_this_form_is_let_through(
    cluster: dict[str, object], brokers: Settings, servers: Settings
) -> None:
    """Also what name servers have for themselves, and what a fixed master looks at only when slaves
    may act as masters."""
    assert told(brokers, servers, **cluster) == {}


@pytest.mark.parametrize("name", [
    "../../x", "", "ärger", "a.b", "a b", "a" * 111, "%RETRY%x", "%DLQ%x", "%LMQ%x", "CID_x",
    "TOOLS_x", "RMQ_SYS_", "rmq_sys_x", "TBW102", "SELF_TEST", "x\n", "SCHEDULE_TOPIC_XXXX",
])  # fmt: skip
def test_names_that_a_topic_of_a_run_cannot_have(name: str) -> None:
    """Brokers refuse them, a reset would leave them for ever, or they mean something else, such as
    dead letters; a run makes them longer by a hyphen and up to 16 digits."""
    assert [path for path, _ in Rocketmq().problems(Topic(name=name))] == ["stream.name"]


@pytest.mark.parametrize("name", ["chaos", "a-b_C|9", "a" * 110, "DLQ", "rocketmq", "my_CID_x"])
def test_names_that_a_topic_of_a_run_can_have(name: str) -> None:
    """Whatever RocketMQ has no use for itself."""
    assert Rocketmq().problems(Topic(name=name)) == []


@pytest.mark.parametrize(("role", "cluster", "what"), [
    ("controller", {"replication": "SYNC_MASTER"}, "no controllers"),
    ("slave", {"replicas": 1}, "no slave"), ("slaves", {"replicas": 1}, "no slaves"),
    ("follower", {"replicas": 1}, "no follower"), ("followers", {"replicas": 1}, "no followers"),
])  # fmt: skip
def test_targets_that_nobody_can_be(role: str, cluster: dict[str, object], what: str) -> None:
    """They are told before anything starts; of a cluster that has them they are not."""
    assert what in Rocketmq(**cluster).role_problem(role, Topic())  # type: ignore[arg-type]
    assert Rocketmq().role_problem(role, Topic()) == ""
    for other in ("master", "leader", "namesrv", "namesrvs"):
        assert Rocketmq(**cluster).role_problem(other, Topic()) == ""  # type: ignore[arg-type]


def test_a_target_that_nobody_can_be_is_told_with_its_line(tmp_path: Path) -> None:
    """`chaos validate` asks the adapter."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\ncluster: {broker: rocketmq, replication: SYNC_MASTER}\nfaults:\n"
        "  - {at: 5s, for: 5s, fault: process.kill, target: controller}\n"
    )
    with pytest.raises(UsageError, match=r"x\.yaml:4:\d+: faults\.0\.target: there are no contr"):
        load_experiment(path)


@pytest.mark.parametrize(("level", "refused"), [(19, True), (18, False), (0, False)])
def test_delays_that_brokers_do_not_have_are_refused(level: int, refused: bool) -> None:
    """They would take the longest of theirs, 2 h."""
    found = Rocketmq().client_problems({}, {"delayLevelWhenNextConsume": level})
    wanted = ["load.consumers.settings.delayLevelWhenNextConsume"] if refused else []
    assert [where for where, _ in found] == wanted
