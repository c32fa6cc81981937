"""Delayed messages of RocketMQ, against a broker that keeps them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from threading import Timer

import pytest

from chaos.spi import Numbers, Outcome
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic, codes
from chaos_adapters.brokers.rocketmq.delayed import TOPIC, Asked, Backlog, delivered
from chaos_adapters.brokers.rocketmq.producer import RemotingProducer
from chaos_adapters.brokers.rocketmq.remoting import Frame
from chaos_adapters.brokers.rocketmq.settings import ProducerSettings
from tests.unit.rocketmq_server import Answer, Server


class Broker(Server):
    """Keeps what is sent, and has delivered as many as it is told."""

    def __init__(self) -> None:
        self.kept = self.delivered = 0
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        if code == codes.SEND_MESSAGE_V2:
            assert "DELAY\x013\x02" in fields["i"]
            self.kept += 1
            return codes.SUCCESS, {"queueId": "2", "queueOffset": str(self.kept - 1)}, b""
        if code == codes.GET_MAX_OFFSET:
            assert (fields["topic"], fields["queueId"]) == (TOPIC, "2")
            return codes.SUCCESS, {"offset": str(self.kept)}, b""
        assert code == codes.GET_ALL_DELAY_OFFSET
        return codes.SUCCESS, {}, b'{"offsetTable":{1:9,3:%d}}' % self.delivered


class Sink:
    def __init__(self) -> None:
        self.places: dict[int, int] = {}

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        self.places.update(zip(map(int, sequences), map(int, offsets), strict=True))

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        raise AssertionError(reason)


@pytest.fixture
def broker() -> Iterator[Broker]:
    found = Broker()
    yield found
    found.close()


@pytest.fixture
def sent(broker: Broker) -> tuple[RemotingProducer, Sink]:
    """A producer that has sent five messages."""
    sink = Sink()
    settings = ProducerSettings(delayTimeLevel=3)
    producer = RemotingProducer({"namesrv-1": broker.address}, "topic", settings, sink)
    first = 0

    def done() -> bool:
        nonlocal first
        producer.poll(0.01)
        first += producer.send(first, [None] * (5 - first), [b"body"] * (5 - first))
        return first == 5

    wait_until(done, "everything sent", 5, every_s=0.01)
    return producer, sink


def test_the_end_waits_for_what_the_broker_keeps(
    broker: Broker, sent: tuple[RemotingProducer, Sink]
) -> None:
    """And no place is on record: the broker tells that among the delayed ones."""
    producer, sink = sent
    broker.delivered = 4
    began = time.monotonic()
    Timer(0.8, setattr, (broker, "delivered", 5)).start()
    producer.close(10)
    assert 0.7 < time.monotonic() - began < 9
    assert sink.places == dict.fromkeys(range(5), -1)


def test_the_end_does_not_wait_for_ever(
    broker: Broker, sent: tuple[RemotingProducer, Sink]
) -> None:
    """The limit holds."""
    producer, _ = sent
    began = time.monotonic()
    producer.close(1.0)
    assert 0.9 < time.monotonic() - began < 5


@pytest.mark.parametrize(("body", "found"), [
    (b'{"dataVersion":{"counter":3},"offsetTable":{3:17}}', 17),
    (b'{"offsetTable":{1:9,3:17}}', 17), (b'{"offsetTable":{"3":17}}', 17),
    (b'{\n\t"offsetTable":{1:2,\n\t\t3:17\n\t}\n}', 17),
    (b'{"offsetTable":{13:4,1:3}}', None), (b"{}", None),
])  # fmt: skip
def test_how_far_the_broker_is(body: bytes, found: int | None) -> None:
    """Numbers stand there as keys without quotes, in one line or in several."""
    assert delivered(body, 3) == found


def test_a_broker_is_through_when_it_has_got_to_the_end_that_was_asked_for() -> None:
    """Without an end nothing is known, nor from an answer that is none."""
    backlog = Backlog(3)
    end, got = Asked(codes.GET_MAX_OFFSET), Asked(codes.GET_ALL_DELAY_OFFSET)

    def over(offset: int) -> bool:
        body = b'{"offsetTable":{3:%d}}' % offset
        backlog.answered(got, Frame(codes.SUCCESS, body=body))
        return backlog.over

    assert not over(5)
    backlog.answered(end, Frame(codes.SYSTEM_ERROR))
    backlog.answered(got, Frame(codes.SYSTEM_ERROR))
    assert not over(5)
    backlog.answered(end, Frame(codes.SUCCESS, fields={"offset": "6"}))
    assert not over(5)
    assert over(6)


def test_levels_that_no_run_can_wait_for_are_refused() -> None:
    """Nor is a transaction delayed."""
    broker = Rocketmq()
    problems = dict(broker.client_problems({"delayTimeLevel": 5}, {}))
    assert "too much" in problems["load.producers.settings.delayTimeLevel"]
    assert not broker.client_problems({"delayTimeLevel": 4}, {})
    assert broker.transaction_problems({"delayTimeLevel": 1})
    told = broker.caveats(Topic(), {"delayTimeLevel": 1}, {})
    assert "duplication" in {each.question for each in told}
