"""RocketMQ's consumer against a broker that has one message, and takes back what is handed back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from chaos.spi import Deliveries
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.consumer import RemotingConsumer
from chaos_adapters.brokers.rocketmq.membership import Membership, share
from chaos_adapters.brokers.rocketmq.remoting import OWN_QUEUE
from chaos_adapters.brokers.rocketmq.settings import ConsumerSettings
from tests.unit.rocketmq_server import Answer, Server, stored

TOPIC, GROUP = "topic", "group"
RETRIES = f"%RETRY%{GROUP}"
QUEUE, PHYSICAL = 2, 700


class Broker(Server):
    """Refuses once to take the first message back."""

    def __init__(self) -> None:
        self.back: list[Mapping[str, str]] = []
        self.committed: dict[tuple[str, int], int] = {}
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        if code == codes.GET_CONSUMER_LIST_BY_GROUP:
            members = {json.loads(beat)["clientID"] for beat in self.beats}
            return codes.SUCCESS, {}, json.dumps({"consumerIdList": [*members]}).encode()
        if code == codes.QUERY_CONSUMER_OFFSET:
            return codes.QUERY_NOT_FOUND, {}, b""
        if code == codes.PULL_MESSAGE:
            return self.pull(fields["topic"], int(fields["queueId"]), int(fields["queueOffset"]))
        if code == codes.CONSUMER_SEND_MSG_BACK:
            if self.asked[code] == 1:
                return codes.SYSTEM_ERROR, {}, b""
            self.back.append(fields)
        if code == codes.UPDATE_CONSUMER_OFFSET:
            place = fields["topic"], int(fields["queueId"])
            self.committed[place] = int(fields["commitOffset"])
        return codes.SUCCESS, {}, b""

    def pull(self, topic: str, queue: int, offset: int) -> Answer:
        """The message, and once more from the topic of retries while it was handed back once."""
        again = topic == RETRIES and len(self.back) == 1
        if offset or not (again or (topic, queue) == (TOPIC, QUEUE)):
            return codes.PULL_NOT_FOUND, {"nextBeginOffset": str(offset)}, b""
        times = int(again)
        own = f"{OWN_QUEUE}\x01{QUEUE}\x02"
        found = stored(b"body", queue, PHYSICAL + times, times, own)
        return codes.SUCCESS, {"nextBeginOffset": "1"}, found


@pytest.fixture
def broker() -> Iterator[Broker]:
    found = Broker()
    yield found
    found.close()


def consumer_of(broker: Broker, settings: ConsumerSettings) -> RemotingConsumer:
    return RemotingConsumer({"namesrv-1": broker.address}, TOPIC, GROUP, settings)


def received(consumer: RemotingConsumer) -> Deliveries:
    found = consumer.receive(10, 10.0)
    assert found
    return found


def test_what_is_handed_back_comes_again_from_the_topic_of_retries(broker: Broker) -> None:
    """It is told as of the queue that it was sent to, without an offset, and as redelivered; where
    it was before is settled only when the broker has taken it back, which is asked for again."""
    settings = ConsumerSettings(maxReconsumeTimes=2, delayLevelWhenNextConsume=1)
    consumer = consumer_of(broker, settings)
    first = received(consumer)
    assert (first.partitions, first.offsets, first.redelivered) == ([QUEUE], [0], [False])
    consumer.hand_back(0)
    consumer.settle_durably()
    assert broker.asked[codes.CONSUMER_SEND_MSG_BACK] == 2
    assert broker.committed == {(TOPIC, QUEUE): 1}
    (told,) = broker.back
    assert (told["group"], told["offset"], told["originTopic"]) == (GROUP, str(PHYSICAL), TOPIC)
    assert (told["maxReconsumeTimes"], told["delayLevel"]) == ("2", "1")
    again = received(consumer)
    assert (again.partitions, again.offsets, again.redelivered) == ([QUEUE], [-1], [True])
    consumer.hand_back(0)
    consumer.close()
    wait_until(lambda: len(broker.back) == 2, "the second return", 5)
    assert broker.back[1]["offset"] == str(PHYSICAL + 1)
    assert broker.committed[RETRIES, 0] == 1


def test_nothing_is_settled_beyond_what_the_broker_has_not_taken_back(broker: Broker) -> None:
    """Else a consumer that dies before it is taken back would have lost it."""
    consumer = consumer_of(broker, ConsumerSettings(persistConsumerOffsetInterval=1))
    received(consumer)
    consumer.hand_back(0)
    consumer.settle()
    assert broker.committed == {}
    consumer.close()
    assert broker.committed == {(TOPIC, QUEUE): 1}


def test_a_member_that_is_listed_twice_reads_all_queues() -> None:
    """A broker lists it once for each connection, also for one that is closed, when a heartbeat of
    that was handled too late."""
    member = Membership("me", GROUP, TOPIC, beat_s=1, share_s=1)
    member.take({"consumerIdList": ["me", "me"]})
    assert share("me", member.members, 8) == list(range(8))
    member.take({"consumerIdList": ["you", "me", "me"]})
    assert share("me", member.members, 8) == list(range(4))
