"""RocketMQ's producer, against a broker that answers each message as it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from zlib import crc32

import pytest

from chaos.spi import Numbers, Outcome
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.producer import RemotingProducer
from chaos_adapters.brokers.rocketmq.settings import ProducerSettings
from tests.unit.rocketmq_server import Answer, Server

KEYS = [b"a", b"b", b"a"]


class Broker(Server):
    """`answers` is what it says to a body the first times, a code or None (nothing); then it says
    that it is stored, at offset 40 and following of its queue. `cuts`: bodies at which it closes
    the connection. `seen` are bodies in their order, `beats_before` how many heartbeats came before
    each."""

    def __init__(self) -> None:
        self.answers: dict[bytes, list[int | None]] = {}
        self.cuts: set[bytes] = set()
        self.seen: list[bytes] = []
        self.beats_before: list[int] = []
        self.ends: Counter[str] = Counter()
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer | None:
        assert code == codes.SEND_MESSAGE_V2
        self.seen.append(body)
        self.beats_before.append(len(self.beats))
        if body in self.cuts:
            raise ConnectionError
        if left := self.answers.get(body):
            said = left.pop(0)
            return None if said is None else (said, {}, b"")
        offset = 40 + self.ends[fields["e"]]
        self.ends[fields["e"]] += 1
        return codes.SUCCESS, {"queueId": fields["e"], "queueOffset": str(offset)}, b""


class Sink:
    """Outcomes by number, each told once; acknowledged ones with their places."""

    def __init__(self) -> None:
        self.places: dict[int, tuple[int, int]] = {}
        self.failures: dict[int, tuple[Outcome, str]] = {}

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        for number, *place in zip(sequences, partitions, offsets, strict=True):
            assert number not in self.places
            self.places[int(number)] = (int(place[0]), int(place[1]))

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        assert sequence not in self.failures
        self.failures[sequence] = (outcome, reason)

    def __len__(self) -> int:
        return len(self.places) + len(self.failures)


Send = Callable[..., tuple[RemotingProducer, Sink]]


@pytest.fixture
def broker() -> Iterator[Broker]:
    found = Broker()
    yield found
    found.close()


@pytest.fixture
def send(broker: Broker) -> Iterator[Send]:
    """Send so many messages, whose bodies are their numbers, and wait for all outcomes."""
    made: list[RemotingProducer] = []

    def run(count: int, **settings: int) -> tuple[RemotingProducer, Sink]:
        sink, taken = Sink(), 0
        chosen = ProducerSettings(**settings)  # type: ignore[arg-type]
        producer = RemotingProducer({"namesrv-1": broker.address}, "topic", chosen, sink)
        made.append(producer)

        def over() -> bool:
            nonlocal taken
            producer.poll(0.01)
            bodies = [b"%d" % number for number in range(taken, count)]
            taken += producer.send(taken, [KEYS[n % 3] for n in range(taken, count)], bodies)
            return len(sink) == count

        wait_until(over, "all outcomes", 20, every_s=0.001)
        return producer, sink

    yield run
    for producer in made:
        producer.close(1)


def test_what_is_acknowledged_has_the_place_that_the_broker_told(send: Send) -> None:
    """In the queue that its key chooses; those of one key go into one queue."""
    queues = [crc32(key) % 4 for key in KEYS]
    assert len(set(queues)) == 2
    _, sink = send(3)
    assert sink.places == {0: (queues[0], 40), 1: (queues[1], 40), 2: (queues[0], 41)}


@pytest.mark.parametrize("code", sorted(codes.WEAK))
def test_what_is_stored_and_not_safe_is_weak(broker: Broker, send: Send, code: int) -> None:
    """It is told at once, by RocketMQ's name for it, and never sent again: it would be there
    twice."""
    broker.answers[b"0"] = [code]
    _, sink = send(2)
    assert sink.failures == {0: (Outcome.WEAK, codes.NAMES[code])}
    assert broker.seen.count(b"0") == 1


def test_an_error_of_which_nothing_is_known_is_of_unknown_fate(broker: Broker, send: Send) -> None:
    """It is not sent again either."""
    broker.answers[b"0"], broker.remark = [codes.SYSTEM_ERROR], "UNKNOWN_ERROR"
    _, sink = send(1)
    assert sink.failures == {0: (Outcome.INDETERMINATE, "SYSTEM_ERROR")}
    assert broker.seen == [b"0"]


def test_what_is_refused_is_sent_again_in_order(broker: Broker, send: Send) -> None:
    """Nothing of it is stored, so it is there once when it is taken at last."""
    broker.remark = "in-sync replicas not enough"
    broker.answers = {b"%d" % n: [codes.SYSTEM_ERROR, codes.SYSTEM_ERROR] for n in range(3)}
    _, sink = send(3)
    assert not sink.failures
    assert sorted(sink.places) == list(range(3))
    assert [*dict.fromkeys(reversed(broker.seen))] == [b"2", b"1", b"0"]


def test_what_is_refused_until_the_time_is_over_is_told_as_refused(
    broker: Broker, send: Send
) -> None:
    """And what is illegal at once: no time makes it legal."""
    broker.answers = {b"0": [codes.SERVICE_NOT_AVAILABLE] * 1000, b"1": [codes.MESSAGE_ILLEGAL]}
    _, sink = send(2, sendMsgTimeout=200)
    assert sink.failures == {
        0: (Outcome.REFUSED, "SERVICE_NOT_AVAILABLE"), 1: (Outcome.REFUSED, "MESSAGE_ILLEGAL"),
    }  # fmt: skip
    assert broker.seen.count(b"0") > 1
    assert broker.seen.count(b"1") == 1


def test_a_send_without_an_answer_is_of_unknown_fate(broker: Broker, send: Send) -> None:
    """And the broker gets nothing more before it has answered another heartbeat."""
    broker.answers[b"0"] = [None]
    _, sink = send(2, sendMsgTimeout=100, window=1)
    assert sink.failures == {0: (Outcome.INDETERMINATE, "no answer in time")}
    assert list(sink.places) == [1]
    assert broker.seen == [b"0", b"1"]
    first, second = broker.beats_before
    assert second > first


def test_what_was_open_on_a_connection_that_is_lost_is_of_unknown_fate(
    broker: Broker, send: Send
) -> None:
    """The rest goes over the next one."""
    broker.cuts = {b"0"}
    _, sink = send(2, window=1)
    assert sink.failures == {0: (Outcome.INDETERMINATE, "connection lost")}
    assert list(sink.places) == [1]


def test_what_is_of_unknown_fate_is_sent_again_as_often_as_is_said(
    broker: Broker, send: Send
) -> None:
    """Not once more: each time may store it twice."""
    broker.answers = {b"0": [None] * 9, b"1": [None, None]}
    _, sink = send(2, sendMsgTimeout=100, retryTimesWhenSendFailed=2)
    assert sink.failures == {0: (Outcome.INDETERMINATE, "no answer in time")}
    assert list(sink.places) == [1]
    assert Counter(broker.seen) == {b"0": 3, b"1": 3}


def test_a_refusal_says_nothing_of_an_earlier_try_of_unknown_fate(
    broker: Broker, send: Send
) -> None:
    """That one may have been stored before the broker took nothing any more."""
    broker.answers = {
        b"0": [None, *[codes.SYSTEM_BUSY] * 1000],
        b"1": [None, codes.MESSAGE_ILLEGAL],
    }
    _, sink = send(2, sendMsgTimeout=200, retryTimesWhenSendFailed=1)
    assert sink.failures == {
        0: (Outcome.INDETERMINATE, "SYSTEM_BUSY"), 1: (Outcome.INDETERMINATE, "MESSAGE_ILLEGAL"),
    }  # fmt: skip
    assert broker.seen.count(b"0") > 2


def test_refusals_leave_the_retries_of_what_is_lost(broker: Broker, send: Send) -> None:
    """Nothing of them is stored, so they are no risk of a duplicate."""
    broker.answers = {b"0": [codes.SYSTEM_BUSY, codes.SYSTEM_BUSY, None]}
    _, sink = send(1, sendMsgTimeout=300, retryTimesWhenSendFailed=1)
    assert not sink.failures
    assert broker.seen == [b"0"] * 4


def test_in_order_one_message_of_a_queue_is_open_at_a_time(broker: Broker, send: Send) -> None:
    """Of those that are refused too, so that none overtakes another."""
    broker.answers = {b"%d" % n: [codes.SYSTEM_BUSY] for n in (0, 2, 3)}
    _, sink = send(6, orderly=True)
    assert not sink.failures
    # Of the keys a, b, a, a, b, a: what is stored follows the numbers in either queue.
    for key in set(KEYS):
        offsets = [sink.places[n][1] for n in range(6) if KEYS[n % 3] == key]
        assert offsets == list(range(40, 40 + len(offsets)))
