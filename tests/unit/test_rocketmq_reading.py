"""What a RocketMQ broker holds, read back by offset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from chaos.spi import Deliveries, PartitionEnd
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic, codes, reading
from tests.unit.rocketmq_server import Answer, Server, stored

QUEUES = 2
HELD = {("run", 1): b"one", ("run-dlt", 0): b"two", ("%DLQ%group", 0): b"three"}
"""One message in each of these queues."""


class Broker(Server):
    """Knows no topic when it is pulled from for the first time; owes the next answer."""

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer | None:
        place = fields.get("topic", ""), int(fields.get("queueId", 0))
        if code == codes.GET_BROKER_CLUSTER_INFO:
            table = {"rocketmq": {"brokerAddrs": {"0": str(self.address)}}}
            return codes.SUCCESS, {}, json.dumps({"brokerAddrTable": table}).encode()
        if code == codes.GET_NAMESRV_CONFIG:
            return codes.SUCCESS, {}, b""
        if code == codes.GET_BROKER_RUNTIME_INFO:
            return codes.SUCCESS, {}, b'{"table": {"dispatchBehindBytes": "0"}}'
        if code == codes.GET_BROKER_CONFIG:
            return codes.SUCCESS, {}, b""
        if code == codes.GET_ALL_TOPIC_CONFIG:
            topics: dict[str, object] = {topic: {} for topic, _ in HELD}
            return codes.SUCCESS, {}, json.dumps({"topicConfigTable": topics}).encode()
        if code == codes.GET_MIN_OFFSET:
            return codes.SUCCESS, {"offset": "0"}, b""
        if code == codes.GET_MAX_OFFSET:
            return codes.SUCCESS, {"offset": str(int(place in HELD))}, b""
        assert code == codes.PULL_MESSAGE
        if self.asked[code] == 1:
            return codes.TOPIC_NOT_EXIST, {}, b""
        if self.asked[code] == 2:
            return None
        return codes.SUCCESS, {"nextBeginOffset": "1"}, stored(HELD[place], place[1])


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setattr(reading, "_LOOK_S", 0.5)
    found = Broker()
    yield found
    found.close()


def read(broker: Broker, name: str) -> tuple[dict[int, bytes], dict[int, int]]:
    """The bodies by partition, and how far each was read."""
    bodies, ends = {}, {}
    stream, clients = Topic(partitions=QUEUES, name=name), {"namesrv-1": broker.address}
    for found in Rocketmq().stored(clients, stream, 10):
        if isinstance(found, Deliveries):
            bodies.update(zip(found.partitions, found.bodies, strict=True))
        else:
            assert isinstance(found, PartitionEnd)
            assert found.read == found.end
            ends[found.partition] = found.end
    return bodies, ends


def test_a_stream_is_its_topic(broker: Broker) -> None:
    """Every queue with its end, those too that hold nothing; nothing of other topics. A slave knows
    none for a moment, each time that it copies its master's list of them, and what it has found
    just then it never tells."""
    assert read(broker, "run") == ({1: b"one"}, {0: 0, 1: 1})


def test_dead_letters_are_what_the_application_and_the_broker_put_there(broker: Broker) -> None:
    """The queue of the group's dead letters has a number behind those of the topic."""
    assert read(broker, "run-dlt") == ({0: b"two", 2: b"three"}, {0: 1, 1: 0, 2: 1})
