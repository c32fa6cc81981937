"""What `chaos validate` refuses of a cluster of RocketMQ, as its servers would take it without a
word, and what it lets through."""

from __future__ import annotations

import pytest

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
