"""Which settings of RocketMQ are told when messages are lost."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.spi import Settings
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic

SAFE: Settings = {"allAckInSyncStateSet": True, "minInSyncReplicas": 2}


def test_what_is_in_memory_alone_counts_where_memories_are_lost() -> None:
    """With safe copies ASYNC_FLUSH is to blame only when all lose their memories at once, and
    never twice."""
    safe, unsafe = Rocketmq(settings=SAFE), Rocketmq()
    blamed = "flushDiskType=ASYNC_FLUSH"
    assert blamed not in {each.setting for each in safe.caveats(Topic(), {}, {})}
    assert [each.setting for each in safe.cache_caveats(Topic())] == [blamed, blamed]
    told = [*unsafe.caveats(Topic(), {}, {}), *unsafe.cache_caveats(Topic())]
    assert [each.question for each in told if each.setting == blamed] == ["loss", "divergence"]


@pytest.mark.parametrize(("cluster", "wanted"), [
    ({"settings": SAFE}, ["loss", "divergence"]),
    ({}, ["loss", "divergence"]),
    ({"replicas": 1}, []),
    ({"replication": "SYNC_MASTER", "settings": {"inSyncReplicas": 2}}, []),
])  # fmt: skip
def test_a_flush_of_the_master_alone_is_enough_where_nobody_else_is_elected(
    cluster: dict[str, Any], wanted: list[str]
) -> None:
    """Slaves tell to have what is in their memories, and controllers elect whoever is back first:
    SYNC_FLUSH is a reason as well, when all lose their memories, and only then."""
    flushes = {**cluster.get("settings", {}), "flushDiskType": "SYNC_FLUSH"}
    broker = Rocketmq(**{**cluster, "settings": flushes})
    found = broker.cache_caveats(Topic())
    assert [each.question for each in found] == wanted
    assert {each.setting for each in found} <= {"flushDiskType=SYNC_FLUSH"}
    assert not any("flush" in each.setting for each in broker.caveats(Topic(), {}, {}))


def told(
    broker: Rocketmq, producer: Settings, consumer: Settings, topic: Settings | None = None
) -> set[tuple[str, str]]:
    """Question and setting of each caveat but the bug of this version, which all clusters have."""
    found = broker.caveats(Topic(settings=topic or {}), producer, consumer)
    assert len({(each.question, each.setting) for each in found}) == len(found)
    return {(each.question, each.setting) for each in found if each.question != "failover"}


LATE = ("ordering", "sendMsgTimeout=3000")


def of_cluster(broker: Rocketmq, topic: Settings | None = None) -> set[tuple[str, str]]:
    """Without those of its clients, which have the one that all clients have."""
    found = told(broker, {"orderly": True}, {}, topic)
    assert LATE in found
    return found - {LATE}


FLUSH = ("loss", "flushDiskType=ASYNC_FLUSH")
ALL = "allAckInSyncStateSet=false, inSyncReplicas=1"
UNCLEAN = "enableElectUncleanMaster=true"


@pytest.mark.parametrize(("broker", "wanted"), [
    (Rocketmq(settings=SAFE), set()),
    (Rocketmq(settings={**SAFE, "allAckInSyncStateSet": False}),
     {("loss", ALL), ("divergence", ALL), FLUSH}),
    (Rocketmq(settings={**SAFE, "minInSyncReplicas": 1}),
     {("loss", "minInSyncReplicas=1"), ("divergence", "minInSyncReplicas=1"), FLUSH}),
    (Rocketmq(settings=SAFE, controller_settings={"enableElectUncleanMaster": True}),
     {("loss", UNCLEAN), ("divergence", UNCLEAN)}),
    (Rocketmq(replicas=1, settings=SAFE), {("loss", "replicas=1"), FLUSH}),
    (Rocketmq(replication="ASYNC_MASTER"), {("loss", "replication=ASYNC_MASTER"), FLUSH}),
    (Rocketmq(replication="SYNC_MASTER"), {("loss", "inSyncReplicas=1"), FLUSH}),
    (Rocketmq(replication="SYNC_MASTER", settings={"inSyncReplicas": 2}), set()),
    (Rocketmq(replicas=1, settings={"flushDiskType": "SYNC_FLUSH"}), {("loss", "replicas=1")}),
])  # fmt: skip
def test_what_a_cluster_does_not_promise(broker: Rocketmq, wanted: set[tuple[str, str]]) -> None:
    """Each setting under which an acknowledged message may be lost, or replaced, and no other: a
    loss is explained by these."""
    assert of_cluster(broker) == wanted


ACTING: Settings = {
    "inSyncReplicas": 2, "enableSlaveActingMaster": True, "enableAutoInSyncReplicas": True,
}  # fmt: skip
LOWERED = "enableAutoInSyncReplicas=true, minInSyncReplicas=1"


@pytest.mark.parametrize(("settings", "wanted"), [
    (ACTING, {("loss", LOWERED), FLUSH}),
    ({**ACTING, "minInSyncReplicas": 2}, set()),
    ({**ACTING, "enableSlaveActingMaster": False}, set()),
    ({**ACTING, "enableAutoInSyncReplicas": False}, set()),
])  # fmt: skip
def test_a_fixed_master_that_goes_by_who_is_alive(
    settings: Settings, wanted: set[tuple[str, str]]
) -> None:
    """It acknowledges alone when nobody else is, unless it is told to wait for one all the same."""
    broker = Rocketmq(replication="SYNC_MASTER", settings=settings)
    assert of_cluster(broker) == wanted


def both(setting: str) -> set[tuple[str, str]]:
    """Of loss and of divergence."""
    return {("loss", setting), ("divergence", setting)}


@pytest.mark.parametrize(("settings", "topic", "wanted"), [
    ({"fileReservedTime": 0}, {}, {("loss", "fileReservedTime=0")}),
    ({"fileReservedTime": "48"}, {}, {("loss", "fileReservedTime=48")}),
    ({"fileReservedTime": 72}, {}, set()),
    ({"cleanFileForciblyEnable": True}, {}, {("loss", "cleanFileForciblyEnable=true")}),
    ({"cleanFileForciblyEnable": "false"}, {}, set()),
    ({"readUnCommitted": True}, {}, both("readUnCommitted=true")),
    ({"transientStorePoolEnable": True}, {}, both("transientStorePoolEnable=true")),
    (
        {"enableBuildConsumeQueueConcurrently": True}, {},
        both("enableBuildConsumeQueueConcurrently=true"),
    ),
    ({}, {"cleanup.policy": "COMPACTION"}, both("cleanup.policy=COMPACTION")),
    ({"enableCompaction": False}, {"cleanup.policy": "COMPACTION"}, set()),
    ({}, {"cleanup.policy": "DELETE"}, set()),
])  # fmt: skip
def test_settings_that_take_messages_away(
    settings: Settings, topic: Settings, wanted: set[tuple[str, str]]
) -> None:
    """Whether anybody has read them or not, on a cluster that promises all else; also a topic's."""
    broker = Rocketmq(settings={**SAFE, **settings})
    assert not broker.problems(Topic(settings=topic))
    assert of_cluster(broker, topic) == wanted


ORDER = ("ordering", "orderly=false")


@pytest.mark.parametrize(("producer", "consumer", "wanted"), [
    ({}, {}, {ORDER}),
    ({"orderly": True}, {"consumeFromWhere": "first"}, {LATE}),
    ({"orderly": True, "sendMsgTimeout": 500}, {}, {("ordering", "sendMsgTimeout=500")}),
    ({"orderly": True, "waitStoreMsgOK": False}, {}, {LATE, ("loss", "waitStoreMsgOK=false")}),
    ({"retryTimesWhenSendFailed": 2}, {}, {ORDER, ("duplication", "retryTimesWhenSendFailed=2")}),
    ({"delayTimeLevel": 3}, {}, {ORDER, ("duplication", "delayTimeLevel=3")}),
    ({}, {"consumeFromWhere": "last"}, {ORDER, ("loss", "consumeFromWhere=last")}),
])  # fmt: skip
def test_what_our_own_clients_do_not_promise(
    producer: Settings, consumer: Settings, wanted: set[tuple[str, str]]
) -> None:
    """On a cluster that promises all."""
    assert told(Rocketmq(settings=SAFE), producer, consumer) == wanted


@pytest.mark.parametrize(("broker", "wanted"), [
    (Rocketmq(settings=SAFE), True),
    (Rocketmq(settings=SAFE, version="5.3.2"), True),
    (Rocketmq(settings=SAFE, version="5.3.1"), False),
    (Rocketmq(settings=SAFE, version="5.3.4"), False),
    (Rocketmq(settings=SAFE, replicas=1), False),
    (Rocketmq(replication="SYNC_MASTER", settings={"inSyncReplicas": 2}), False),
    (Rocketmq(settings={**SAFE, "enableBuildConsumeQueueConcurrently": True}), False),
])  # fmt: skip
def test_a_slave_that_waits_before_it_cuts_back_its_log(broker: Rocketmq, wanted: bool) -> None:
    """A failover that takes too long may be due to it, in these versions, unless queues are built
    by the other loop."""
    found = [
        each.setting for each in broker.caveats(Topic(), {}, {}) if each.question == "failover"
    ]
    assert found == ["enableBuildConsumeQueueConcurrently=false"] * wanted


def test_messages_of_transactions_may_be_stored_twice() -> None:
    """Where there are some, whatever else is set; that they are marked does not reach producers,
    and no experiment can mark them."""
    broker, own = Rocketmq(settings=SAFE), {"sendMsgTimeout": 2000}
    marked = broker.settings_in_transactions(own)
    assert told(broker, marked, {}) == {ORDER, ("duplication", "transactions")}
    assert told(broker, own, {}) == {ORDER}
    (mark,) = marked.keys() - own
    assert broker.client_problems({mark: True}, {})


@pytest.mark.parametrize(("producer", "consumer", "orders"), [
    (True, True, ["sendMsgTimeout=900"]),
    (True, False, ["orderly=false", "sendMsgTimeout=900"]),
    (False, True, ["orderly=false"]),
    (False, False, ["orderly=false", "orderly=false"]),
])  # fmt: skip
def test_what_the_native_client_does_not_promise(
    producer: bool, consumer: bool, orders: list[str]
) -> None:
    """It sends up to five times, whatever is set; order takes both sides, and answers in time."""
    found = Rocketmq(settings=SAFE, client="native").caveats(
        Topic(), {"orderly": producer, "sendMsgTimeout": 900}, {"orderly": consumer}
    )
    assert [each.setting for each in found if each.question == "duplication"] == ["client=native"]
    assert sorted(each.setting for each in found if each.question == "ordering") == orders
    assert len([each for each in found if each.question != "failover"]) == 1 + len(orders)


@pytest.mark.parametrize(("producer", "consumer", "path"), [
    ({"window": "many"}, {}, "producers.settings.window"),
    ({"window": True}, {}, "producers.settings.window"),
    ({"window": 0}, {}, "producers.settings.window"),
    ({"orderly": 1}, {}, "producers.settings.orderly"),
    ({"sendTimeout": 1}, {}, "producers.settings.sendTimeout"),
    ({}, {"consumeFromWhere": "latest"}, "consumers.settings.consumeFromWhere"),
    ({}, {"window": 5}, "consumers.settings.window"),
])  # fmt: skip
def test_settings_that_would_not_be_heeded_are_refused(
    producer: Settings, consumer: Settings, path: str
) -> None:
    """By where they stand; what is fine is not."""
    found = Rocketmq().client_problems(producer, consumer)
    assert [where for where, _ in found] == [f"load.{path}"]
    fine: Settings = {"retryTimesWhenSendFailed": 0, "orderly": False, "window": 1}
    assert not Rocketmq().client_problems(fine, {"consumeFromWhere": "last"})
