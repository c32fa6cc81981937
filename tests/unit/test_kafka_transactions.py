"""The outcome of a message is that of its transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from chaos import message
from chaos.errors import ClusterError, Fenced
from chaos.spi import Numbers, Outcome, Transactions
from chaos_adapters.brokers.kafka import clients
from chaos_adapters.brokers.kafka.transactions import TransactionalProducer


@dataclass
class Report:
    """confluent_kafka.Message, as a delivery report has it."""

    at: int
    place: int
    body: bytes

    def value(self) -> bytes:
        return self.body

    def partition(self) -> int:
        return self.at

    def offset(self) -> int:
        return self.place


@dataclass
class FakeClient:
    """confluent_kafka.Producer: what is produced is reported at the next poll, at partition 0."""

    settings: dict[str, Any]
    said: list[str] = field(default_factory=list)
    answers: deque[KafkaError | None] = field(default_factory=deque)
    """What the next commits and roll-backs raise."""
    open: list[bytes] = field(default_factory=list)
    offset: int = 0
    failing: KafkaError | None = None
    fatal: KafkaError | None = None

    def init_transactions(self, timeout_s: float) -> None:
        self.said.append("register")

    def begin_transaction(self) -> None:
        self._answer("begin")

    def commit_transaction(self, timeout_s: float) -> None:
        self._answer("commit")

    def abort_transaction(self, timeout_s: float) -> None:
        self._answer("abort")

    def _answer(self, what: str) -> None:
        self.said.append(what)
        error = self.answers.popleft() if what != "begin" and self.answers else None
        if error is not None:
            raise KafkaException(error)

    def produce(self, topic: str, body: bytes, key: bytes | None) -> None:
        self.open.append(body)

    def poll(self, timeout_s: float) -> None:
        if self.fatal is not None:
            raise KafkaException(self.fatal)
        bodies, self.open = self.open, []
        for body in bodies:
            self.settings["on_delivery"](self.failing, Report(0, self.offset, body))
            self.offset += 1

    def flush(self, timeout_s: float) -> None:
        self.poll(timeout_s)

    def __len__(self) -> int:
        return len(self.open)


@dataclass
class Sink:
    acked: list[tuple[int, int]] = field(default_factory=list)
    bad: list[tuple[int, Outcome]] = field(default_factory=list)

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        self.acked += zip(sequences, offsets, strict=True)

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        self.bad.append((sequence, outcome))


@pytest.fixture
def sink() -> Sink:
    return Sink()


Make = Callable[..., tuple[TransactionalProducer, FakeClient]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> Make:
    def made(messages: int = 3, abort: float = 0.0) -> tuple[TransactionalProducer, FakeClient]:
        found: list[FakeClient] = []

        def client(settings: dict[str, Any]) -> FakeClient:
            found.append(FakeClient(settings))
            return found[-1]

        monkeypatch.setattr(clients, "Producer", client)
        plan = Transactions(messages, abort)
        return TransactionalProducer({"transactional.id": "me"}, "t", sink, plan), found[0]

    return made


def bodies(first: int, count: int = 1) -> list[bytes]:
    return message.encode(7, 0, first, np.arange(count), 0, 60)


def send(producer: TransactionalProducer, first: int, count: int) -> int:
    """Offer messages until all are taken or nothing moves any more; how many were taken."""
    taken = 0
    for _ in range(20 * count):
        if taken == count:
            break
        left = count - taken
        taken += producer.send(first + taken, [None] * left, bodies(first + taken, left))
        producer.poll(0)
    return taken


def error(code: int, **how: bool) -> KafkaError:
    return KafkaError(code, "", how.get("fatal", False), how.get("retriable", False),
                      how.get("abort", False))  # fmt: skip


def test_nothing_is_acknowledged_before_its_transaction_is_committed(
    make: Make, sink: Sink
) -> None:
    """Stored is not yet valid."""
    producer, client = make(messages=3)
    assert send(producer, 0, 2) == 2
    assert sink.acked == []
    assert send(producer, 2, 1) == 1
    producer.poll(0)
    producer.poll(0)
    assert sink.acked == [(0, 0), (1, 1), (2, 2)]
    assert client.said == ["register", "begin", "commit"]


def test_what_is_rolled_back_on_purpose_is_aborted_and_the_share_is_kept(
    make: Make, sink: Sink
) -> None:
    """Every second transaction with a share of a half."""
    producer, client = make(messages=2, abort=0.5)
    assert send(producer, 0, 8) == 8
    producer.close(1)
    assert client.said[1:] == ["begin", "commit", "begin", "abort"] * 2
    assert [sequence for sequence, _ in sink.acked] == [0, 1, 4, 5]
    assert sink.bad == [(sequence, Outcome.ABORTED) for sequence in (2, 3, 6, 7)]


def test_a_commit_that_times_out_is_tried_again_and_nothing_is_sent_meanwhile(
    make: Make, sink: Sink
) -> None:
    """librdkafka allows to call it again; the outcome is not known until then."""
    producer, client = make(messages=1)
    client.answers.extend([error(KafkaError._TIMED_OUT, retriable=True)] * 2)
    assert producer.send(0, [None], bodies(0)) == 1
    producer.poll(0)
    producer.poll(0)
    assert producer.send(1, [None], bodies(1)) == 0
    assert sink.acked == []
    producer.poll(0)
    producer.poll(0)
    assert [sequence for sequence, _ in sink.acked] == [0]


def test_an_error_that_asks_for_it_rolls_the_transaction_back(make: Make, sink: Sink) -> None:
    """None of its messages counts, not even those that were stored."""
    producer, client = make(messages=2)
    client.answers.append(error(KafkaError._STATE, abort=True))
    assert send(producer, 0, 2) == 2
    producer.close(1)
    assert client.said[1:] == ["begin", "commit", "abort"]
    assert sink.acked == []
    assert sink.bad == [(0, Outcome.ABORTED), (1, Outcome.ABORTED)]


def test_reports_of_a_rolled_back_transaction_do_not_count_in_the_next(
    make: Make, sink: Sink
) -> None:
    """They may come late."""
    producer, _ = make(messages=2)
    assert send(producer, 0, 2) == 2
    producer.poll(0)
    producer.poll(0)
    sink.acked.clear()
    assert producer.send(2, [None], bodies(2)) == 1
    producer.acknowledged([1], [0], [99], 1)
    producer.failed(0, 0, 1, Outcome.INDETERMINATE, "late")
    producer.close(1)
    assert [sequence for sequence, _ in sink.acked] == [2]
    assert sink.bad == []


@pytest.mark.parametrize(
    "code", [KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED]
)
def test_fenced_while_it_commits_nobody_knows(make: Make, sink: Sink, code: int) -> None:
    """The commit may have been carried out before."""
    producer, client = make(messages=1)
    client.answers.append(error(code, fatal=True))
    producer.send(0, [None], bodies(0))
    with pytest.raises(Fenced):
        producer.close(1)
    assert sink.bad == [(0, Outcome.INDETERMINATE)]


def test_fenced_before_a_commit_was_tried_it_never_counts(make: Make, sink: Sink) -> None:
    """Who fences a producer rolls its transaction back first."""
    producer, client = make(messages=1, abort=1.0)
    client.answers.append(error(KafkaError._FENCED, fatal=True))
    producer.send(0, [None], bodies(0))
    with pytest.raises(Fenced):
        producer.close(1)
    assert sink.bad == [(0, Outcome.ABORTED)]


def test_a_fatal_error_that_is_no_fencing_ends_the_client(make: Make, sink: Sink) -> None:
    """It cannot go on, and what it sent last is open."""
    producer, client = make(messages=1)
    client.answers.append(error(KafkaError._FATAL, fatal=True))
    producer.send(0, [None], bodies(0))
    with pytest.raises(ClusterError) as caught:
        producer.close(1)
    assert not isinstance(caught.value, Fenced)
    assert sink.bad == [(0, Outcome.INDETERMINATE)]


def test_what_does_not_end_in_time_is_open(make: Make, sink: Sink) -> None:
    """Once, for every message of it."""
    producer, client = make(messages=2)
    client.answers.extend([error(KafkaError._TIMED_OUT, retriable=True)] * 1_000_000)
    assert send(producer, 0, 1) == 1
    producer.close(0.05)
    assert sink.bad == [(0, Outcome.INDETERMINATE)]


def test_fenced_while_it_sends_is_told_by_poll(make: Make, sink: Sink) -> None:
    """As librdkafka does with a zombie that wakes up in the middle of a transaction."""
    producer, client = make(messages=2)
    assert producer.send(0, [None], bodies(0)) == 1
    client.fatal = error(KafkaError._FENCED, fatal=True)
    with pytest.raises(Fenced):
        producer.poll(0)
    assert sink.bad == [(0, Outcome.ABORTED)]
