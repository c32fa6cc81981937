"""RocketMQ's producer in transactions, against a broker that keeps half messages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import pytest

from chaos.spi import NUMBER_AT, Numbers, Outcome, Producer, Transactions
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic, codes, producer
from tests.unit.rocketmq_server import Answer, Server, stored

COMMIT, ROLLBACK = "8", "12"


class Broker(Server):
    """Stores a half message at its number in the queue and 100 times that in the log. `mute`: it
    answers no question for an end with success. It stores nothing that is `illegal`, and does not
    answer at all the first time that it gets what is `lost`."""

    def __init__(self) -> None:
        self.halves = 0
        self.ends: list[Mapping[str, str]] = []
        self.mute = False
        self.late_s = 0.0
        self.hangs = False
        self.illegal: set[bytes] = set()
        self.lost: set[bytes] = set()
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer | None:
        if code == codes.SEND_MESSAGE_V2:
            if body in self.lost:
                self.lost.remove(body)
                return None
            assert fields["f"] == "4"
            assert "TRAN_MSG\x01true\x02" in fields["i"]
            if body in self.illegal:
                return codes.MESSAGE_ILLEGAL, {}, b""
            place, self.halves = self.halves, self.halves + 1
            told = f"7F00000100002A9F{place * 100:016X}"
            answer = {"msgId": told, "queueId": fields["e"], "queueOffset": str(place)}
            return codes.SUCCESS, answer, b""
        assert code == codes.END_TRANSACTION
        self.ends.append(fields)
        self.silent = self.hangs
        time.sleep(self.late_s)
        return codes.SYSTEM_ERROR if self.mute else codes.SUCCESS, {}, b""


class Sink:
    def __init__(self) -> None:
        self.outcomes: dict[int, Outcome] = {}

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        self.outcomes.update((int(number), Outcome.OK) for number in sequences)

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        self.outcomes[sequence] = outcome


@pytest.fixture
def broker() -> Iterator[Broker]:
    found = Broker()
    yield found
    found.close()


def producer_of(broker: Broker, sink: Sink, **settings: int) -> Producer:
    plan, stream, clients = Transactions(2, 0.5), Topic(name="topic"), {"namesrv-1": broker.address}
    return Rocketmq().transactional_producer(clients, stream, settings, sink, plan, "any")


def body(number: int) -> bytes:
    return bytes(NUMBER_AT) + number.to_bytes(8, "little")


def sent(producer: Producer, first: int, count: int) -> None:
    def done() -> bool:
        nonlocal first, count
        producer.poll(0.01)
        taken = producer.send(first, [None] * count, [body(first + n) for n in range(count)])
        first, count = first + taken, count - taken
        return not count

    wait_until(done, "the messages to be taken", 10)


def test_each_transaction_is_ended_when_it_is_whole(broker: Broker) -> None:
    """And each message told by how it ended; what is left over is ended at the close."""
    sink = Sink()
    producer = producer_of(broker, sink)
    sent(producer, 0, 5)

    def told(count: int) -> bool:
        producer.poll(0.01)
        return len(sink.outcomes) == count

    wait_until(lambda: told(4), "two transactions to end", 10)
    assert [sink.outcomes[n] for n in range(4)] == [
        Outcome.OK, Outcome.OK, Outcome.ABORTED, Outcome.ABORTED,
    ]  # fmt: skip
    found = [(end["tranStateTableOffset"], end["commitLogOffset"]) for end in broker.ends]
    assert found == [(str(n), str(n * 100)) for n in range(4)]
    assert [end["commitOrRollback"] for end in broker.ends] == [COMMIT, COMMIT, ROLLBACK, ROLLBACK]
    assert {end["fromTransactionCheck"] for end in broker.ends} == {"false"}
    producer.close(10)
    assert sink.outcomes[4] is Outcome.OK


def test_what_cannot_be_ended_is_of_unknown_fate(broker: Broker) -> None:
    """It was asked for again and again, until `sendMsgTimeout` was over."""
    broker.mute, sink = True, Sink()
    producer = producer_of(broker, sink, sendMsgTimeout=300)
    sent(producer, 0, 2)
    producer.close(10)
    assert sink.outcomes == {0: Outcome.INDETERMINATE, 1: Outcome.INDETERMINATE}
    assert len(broker.ends) > 2


def test_an_end_that_took_as_long_as_a_copy_may_is_weak(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker says OK also when no slave has it in time. What is rolled back is not there."""
    monkeypatch.setattr(producer, "_COPIED_S", 0.2)
    broker.late_s, sink = 0.3, Sink()
    sender = producer_of(broker, sink, sendMsgTimeout=5000)
    sent(sender, 0, 4)
    sender.close(10)
    assert [sink.outcomes[n] for n in range(4)] == [
        Outcome.WEAK, Outcome.WEAK, Outcome.ABORTED, Outcome.ABORTED,
    ]  # fmt: skip


def test_a_silent_connection_is_left_although_ends_are_open_on_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for again on the next one, whose heartbeat is answered."""
    monkeypatch.setattr(producer, "_SILENT_S", 0.2)
    broker.hangs, sink = True, Sink()
    sender = producer_of(broker, sink, sendMsgTimeout=5000)
    sent(sender, 0, 3)

    def left(connections: int) -> bool:
        sender.poll(0.01)
        return len(broker.beats) >= connections and bool(broker.ends)

    wait_until(lambda: left(1), "the end to be asked for", 10)
    assert isinstance(sender, producer.RemotingProducer)
    sender._ready = False  # as when a send has timed out
    wait_until(lambda: left(3), "another connection", 4)
    broker.hangs = broker.silent = False
    sender.close(10)
    assert [sink.outcomes[n] for n in range(2)] == [Outcome.OK, Outcome.OK]


def test_a_transaction_of_which_a_message_failed_is_ended_all_the_same(broker: Broker) -> None:
    """The others would wait for it for ever; nothing is acknowledged before its own end."""
    broker.illegal, sink = {body(0)}, Sink()
    producer = producer_of(broker, sink)
    sent(producer, 0, 3)

    def told() -> bool:
        producer.poll(0.01)
        return len(sink.outcomes) == 2

    wait_until(told, "the first transaction to end", 10)
    assert sink.outcomes == {0: Outcome.REFUSED, 1: Outcome.OK}
    assert len(broker.ends) == 1
    producer.close(10)
    assert sink.outcomes[2] is Outcome.ABORTED


def test_a_half_message_refused_after_a_try_of_unknown_fate_is_of_unknown_fate(
    broker: Broker,
) -> None:
    """The first try may be stored as a half message, and the broker ask for its end."""
    broker.illegal, broker.lost, sink = {body(0)}, {body(0)}, Sink()
    producer = producer_of(broker, sink, sendMsgTimeout=200, retryTimesWhenSendFailed=1)
    sent(producer, 0, 1)
    producer.close(10)
    assert sink.outcomes == {0: Outcome.INDETERMINATE}


@pytest.mark.parametrize(("number", "wanted"), [(1, COMMIT), (2, ROLLBACK), (3, ROLLBACK)])
def test_a_broker_is_told_what_was_decided(broker: Broker, number: int, wanted: str) -> None:
    """About messages of others of the group too, who decide by the same plan."""
    sink = Sink()
    producer = producer_of(broker, sink)
    sent(producer, 0, 1)
    where = {"tranStateTableOffset": "77", "commitLogOffset": "88"}
    broker.ask(codes.CHECK_TRANSACTION_STATE, where, stored(body(number), physical=88))

    def answered() -> bool:
        producer.poll(0.01)
        return bool(broker.ends)

    wait_until(answered, "the answer", 10)
    (end,) = broker.ends
    assert (end["commitOrRollback"], end["fromTransactionCheck"]) == (wanted, "true")
    assert (end["tranStateTableOffset"], end["commitLogOffset"]) == ("77", "88")
    producer.close(10)


def test_messages_in_transactions_are_not_sent_one_by_one() -> None:
    """With `orderly` the second of a queue would wait for the end of the first for ever."""
    assert Rocketmq().transaction_problems({"orderly": True})
    assert not Rocketmq().transaction_problems({})


@pytest.mark.parametrize("name", ["slaveTimeout", "syncFlushTimeout"])
def test_a_copy_that_failed_has_to_be_told_by_the_time_of_the_answer(name: str) -> None:
    """A broker that gives up sooner answers OK sooner, which would count as acknowledged."""
    (why,) = Rocketmq(settings={name: 2000}).transaction_problems({})
    assert f"{name}=2000" in why
    for fine in (3000, "5000", "two"):
        assert not Rocketmq(settings={name: fine}).transaction_problems({})
