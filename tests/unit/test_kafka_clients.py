"""What becomes of librdkafka's answers: outcomes of sends, deliveries, and stored offsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from chaos import message
from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries, Numbers, Outcome, PartitionEnd
from chaos.timing import now_ns
from chaos_adapters.brokers.kafka import clients
from chaos_adapters.brokers.kafka.clients import (
    NEVER_STORED,
    KafkaConsumer,
    KafkaProducer,
    bootstrap,
    read_back,
)

RUN = 7


@dataclass
class FakeMessage:
    """confluent_kafka.Message."""

    at: int | None = 0
    place: int | None = 0
    body: bytes | None = b"x"
    problem: KafkaError | None = None

    def error(self) -> KafkaError | None:
        return self.problem

    def partition(self) -> int | None:
        return self.at

    def offset(self) -> int | None:
        return self.place

    def value(self) -> bytes | None:
        return self.body


@dataclass
class FakeClient:
    """confluent_kafka.Producer and Consumer, as far as they are used."""

    settings: dict[str, Any]
    taken: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    reports: list[tuple[KafkaError | None, FakeMessage]] = field(default_factory=list)
    late: list[tuple[KafkaError | None, FakeMessage]] = field(default_factory=list)
    room: int = 100
    at_once: dict[bytes, KafkaError] = field(default_factory=dict)
    incoming: list[list[FakeMessage]] = field(default_factory=list)
    stored: list[list[tuple[str, int, int]]] = field(default_factory=list)
    store_error: KafkaError | None = None
    done: list[str] = field(default_factory=list)
    marks: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    positions: dict[int, list[int]] = field(default_factory=dict)
    callbacks: dict[str, Callable[..., None]] = field(default_factory=dict)
    assigned: list[tuple[int, int]] = field(default_factory=list)

    def produce(self, topic: str, body: bytes, key: bytes | None) -> None:
        if body in self.at_once:
            raise KafkaException(self.at_once[body])
        if len(self.taken) >= self.room:
            raise BufferError("Local: Queue full")
        self.taken.append((body, key))

    def report(self, error: KafkaError | None, message: FakeMessage) -> None:
        """Have this told at the next poll."""
        self.reports.append((error, message))

    def _tell(self) -> None:
        while self.reports:
            self.settings["on_delivery"](*self.reports.pop(0))

    def poll(self, timeout_s: float) -> FakeMessage | None:
        self._tell()
        if not self.incoming:
            return None
        first, *rest = self.incoming.pop(0)
        self._rest = rest
        return first

    def consume(self, most: int, timeout_s: float) -> list[FakeMessage]:
        if hasattr(self, "_rest"):
            found, self._rest = self._rest[:most], self._rest[most:]
            return found
        return self.incoming.pop(0) if self.incoming else []

    def subscribe(self, topics: Sequence[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def store_offsets(self, offsets: Sequence[TopicPartition]) -> None:
        if self.store_error:
            raise KafkaException(self.store_error)
        self.stored.append(sorted((each.topic, each.partition, each.offset) for each in offsets))

    def get_watermark_offsets(
        self, where: TopicPartition, timeout: float
    ) -> tuple[int, int] | None:
        found = self.marks[where.partition]
        if found is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return found

    def assign(self, where: Sequence[TopicPartition]) -> None:
        self.assigned = [(each.partition, each.offset) for each in where]

    def position(self, where: Sequence[TopicPartition]) -> list[TopicPartition]:
        def now(number: int) -> int:
            steps = self.positions[number]
            return steps.pop(0) if len(steps) > 1 else steps[0]

        return [TopicPartition("t", each.partition, now(each.partition)) for each in where]

    def flush(self, timeout_s: float) -> int:
        """One message after the other comes back late."""
        self.done.append("flush")
        self._tell()
        if self.late:
            self.reports.append(self.late.pop(0))
        return len(self.reports) + len(self.late)

    def close(self) -> None:
        self.done.append("close")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeClient]:
    """The clients that were made instead of real ones."""
    found: list[FakeClient] = []

    def make(settings: dict[str, Any]) -> FakeClient:
        found.append(FakeClient(settings))
        return found[-1]

    monkeypatch.setattr(clients, "Producer", make)
    monkeypatch.setattr(clients, "Consumer", make)
    return found


# ------------------------------------------------------------------------------------- producer


@dataclass
class Sink:
    acked: list[tuple[int, int, int]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    bad: list[tuple[int, int, Outcome, str]] = field(default_factory=list)

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        columns = [np.array(column, np.int64).tolist() for column in (sequences, partitions)]
        self.acked += zip(*columns, list(offsets), strict=True)
        self.times += [done_ns] * len(sequences)

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        self.bad.append((sequence, partition, outcome, reason))


@pytest.fixture
def sink() -> Sink:
    return Sink()


def sent(count: int, first: int = 0) -> list[bytes]:
    """Bodies as a worker has them; the number is read off them."""
    return message.encode(RUN, 0, first, np.arange(count), 0, 60)


def test_an_acknowledgement_is_of_the_message_it_belongs_to(
    made: list[FakeClient], sink: Sink
) -> None:
    """Whatever the order in which delivery reports come."""
    producer = KafkaProducer({}, "t", sink)
    bodies = sent(3, first=7)
    assert producer.send(7, [b"k", None, b"k"], bodies) == 3
    assert made[0].taken == [(bodies[0], b"k"), (bodies[1], None), (bodies[2], b"k")]
    for index, offset in ((2, 31), (0, 30), (1, 9)):
        made[0].report(None, FakeMessage(index, offset, bodies[index]))
    producer.poll(0)
    assert sink.acked == [(9, 2, 31), (7, 0, 30), (8, 1, 9)]
    assert sink.bad == []
    producer.poll(0)
    assert len(sink.acked) == 3


@given(numbers=st.lists(st.integers(0, 2**62), min_size=1), size=st.integers(48, 300))
def test_a_number_is_read_off_a_body_of_any_size(numbers: list[int], size: int) -> None:
    """Of several sizes at once, too; zeros at an end of a number are part of it."""
    bodies = [message.encode(RUN, 1, n, np.array([0]), 0, size + n % 7)[0] for n in numbers]
    sink = Sink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "Producer", FakeClient)
        producer = KafkaProducer({}, "t", sink)
        for body in bodies:
            producer.client.report(None, FakeMessage(0, 1, body))  # type: ignore[attr-defined]
        producer.poll(0)
    assert [sequence for sequence, *_ in sink.acked] == numbers


def test_a_broker_that_tells_no_offset_is_recorded_so(made: list[FakeClient], sink: Sink) -> None:
    """As with acks=0: -1, also beside messages that have one."""
    producer = KafkaProducer({"acks": 0}, "t", sink)
    bodies = sent(2)
    made[0].report(None, FakeMessage(0, None, bodies[0]))
    made[0].report(None, FakeMessage(0, 4, bodies[1]))
    producer.poll(0)
    assert sink.acked == [(0, 0, -1), (1, 0, 4)]


def test_an_acknowledgement_is_dated_when_it_was_reported(
    made: list[FakeClient], sink: Sink
) -> None:
    """Not before the poll that told of it began, and not after that poll returned."""
    producer = KafkaProducer({}, "t", sink)
    bounds = []
    for body in sent(3):
        made[0].report(None, FakeMessage(0, 0, body))
        before_ns = now_ns()
        producer.poll(0)
        bounds.append((before_ns, now_ns()))
    assert all(low <= at <= high for at, (low, high) in zip(sink.times, bounds, strict=True))


REFUSED = [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE]
OPEN = [
    KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._TRANSPORT,
    KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN,
    KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._FATAL, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.KAFKA_STORAGE_ERROR, KafkaError.INVALID_MSG,
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.POLICY_VIOLATION, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION,
]  # fmt: skip


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_surely_not_stored_is_refused(
    made: list[FakeClient], sink: Sink, code: int
) -> None:
    """It must never appear; its name is the reason."""
    producer = KafkaProducer({}, "t", sink)
    made[0].report(KafkaError(code), FakeMessage(2, None, sent(1, first=7)[0]))
    producer.poll(0)
    assert sink.bad == [(7, 2, Outcome.REFUSED, KafkaError(code).name())]


@pytest.mark.parametrize("code", OPEN)
def test_everything_else_leaves_it_open(made: list[FakeClient], sink: Sink, code: int) -> None:
    """A retry may have been refused after an earlier try was stored: it may appear or not."""
    producer = KafkaProducer({}, "t", sink)
    made[0].report(KafkaError(code), FakeMessage(None, None, sent(1, first=7)[0]))
    producer.poll(0)
    assert sink.bad == [(7, -1, Outcome.INDETERMINATE, KafkaError(code).name())]
    assert code not in NEVER_STORED


def test_every_other_error_of_librdkafka_leaves_it_open() -> None:
    """The list of definite failures is exactly the one above, of all that the library knows."""
    codes = {value for value in vars(KafkaError).values() if isinstance(value, int)}
    assert len(codes) > 100
    assert codes & NEVER_STORED == set(REFUSED)


def test_a_full_queue_takes_no_more(made: list[FakeClient], sink: Sink) -> None:
    """How many were taken is told, in order; the rest stays due and has no outcome."""
    producer = KafkaProducer({}, "t", sink)
    made[0].room = 2
    assert producer.send(0, [None] * 4, [b"a", b"b", b"c", b"d"]) == 2
    assert producer.send(2, [None] * 2, [b"c", b"d"]) == 0
    made[0].room = 9
    assert producer.send(2, [None] * 2, [b"c", b"d"]) == 2
    assert [body for body, _ in made[0].taken] == [b"a", b"b", b"c", b"d"]
    assert sink.bad == []


def test_what_the_client_refuses_at_once_is_told_while_polling(
    made: list[FakeClient], sink: Sink
) -> None:
    """Not from the thread that sends; the messages around it are sent."""
    producer = KafkaProducer({}, "t", sink)
    made[0].at_once[b"b"] = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    assert producer.send(4, [None] * 3, [b"a", b"b", b"c"]) == 3
    assert sink.bad == []
    producer.poll(0)
    producer.poll(0)
    assert sink.bad == [(5, -1, Outcome.REFUSED, "MSG_SIZE_TOO_LARGE")]
    assert [body for body, _ in made[0].taken] == [b"a", b"c"]


def test_closing_waits_for_reports_and_tells_what_is_left(
    made: list[FakeClient], sink: Sink
) -> None:
    """What was refused at once is not forgotten, and each report is dated when it comes."""
    producer = KafkaProducer({}, "t", sink)
    made[0].at_once[b"a"] = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    producer.send(0, [None], [b"a"])
    made[0].late = [(None, FakeMessage(0, at, body)) for at, body in enumerate(sent(3, first=1))]
    producer.close(5)
    assert [sequence for sequence, *_ in sink.bad] == [0]
    assert [sequence for sequence, *_ in sink.acked] == [1, 2, 3]
    assert len(set(sink.times)) == 3


def test_closing_ends_in_time(made: list[FakeClient], sink: Sink) -> None:
    """What is still open then is never reported."""
    producer = KafkaProducer({}, "t", sink)
    made[0].late = [(None, FakeMessage(0, 0, body)) for body in sent(3)]
    producer.close(0)
    assert made[0].done == ["flush"]
    assert sink.acked == []


def test_settings_of_the_experiment_have_the_last_word(made: list[FakeClient], sink: Sink) -> None:
    """Any client setting is passed through."""
    KafkaProducer({"acks": 1, "reconnect.backoff.max.ms": 5}, "t", sink)
    settings = {key: value for key, value in made[0].settings.items() if key != "on_delivery"}
    assert settings == {"acks": 1, "reconnect.backoff.max.ms": 5}
    KafkaConsumer({"auto.offset.reset": "latest", "group.id": "g"}, "t")
    assert made[1].settings["auto.offset.reset"] == "latest"


@pytest.mark.parametrize("make", [lambda s: KafkaProducer(s, "t", Sink()),
                                  lambda s: KafkaConsumer(s, "t")])  # fmt: skip
def test_a_setting_that_librdkafka_does_not_know_is_a_cluster_error(make: Any) -> None:
    """With its name, from the real library."""
    with pytest.raises(ClusterError, match="no-such-setting"):
        make({"group.id": "g", "no-such-setting": 1})


def test_clients_start_from_every_node() -> None:
    """One that is down is no reason not to get in."""
    found = bootstrap({"a": Address("127.0.0.1", 1), "b": Address("127.0.0.1", 2)})
    assert found == {"bootstrap.servers": "127.0.0.1:1,127.0.0.1:2"}


# ------------------------------------------------------------------------------------- consumer


def consumer(
    made: list[FakeClient], *incoming: list[FakeMessage]
) -> tuple[KafkaConsumer, FakeClient]:
    found = KafkaConsumer({"group.id": "g"}, "t")
    made[0].incoming = list(incoming)
    return found, made[0]


def test_settling_stores_the_offset_after_the_last_received(made: list[FakeClient]) -> None:
    """One short would deliver the last message again and blame the broker for it."""
    found, client = consumer(
        made,
        [FakeMessage(0, 5), FakeMessage(1, 0), FakeMessage(0, 6)],
        [FakeMessage(0, 7)],
    )
    found.receive(10, 0)
    found.receive(10, 0)
    assert client.stored == []
    found.settle()
    assert client.stored == [[("t", 0, 8), ("t", 1, 1)]]
    found.settle()
    assert len(client.stored) == 1


def test_nothing_is_stored_before_it_is_settled(made: list[FakeClient]) -> None:
    """The timer must only commit what is on record."""
    found, client = consumer(made, [FakeMessage(0, 5)])
    assert client.settings["enable.auto.offset.store"] is False
    found.receive(10, 0)
    assert client.stored == []
    found.close()
    assert client.stored == [[("t", 0, 6)]]
    assert client.done == ["close"]


def test_a_partition_that_was_taken_away_is_not_stored(made: list[FakeClient]) -> None:
    """Its new owner may be further on; the other partitions are stored all the same."""
    found, client = consumer(made, [FakeMessage(0, 5), FakeMessage(1, 8)])
    found.receive(10, 0)
    assert set(client.callbacks) == {"on_revoke", "on_lost"}
    client.callbacks["on_revoke"](client, [TopicPartition("t", 0)])
    found.settle()
    assert client.stored == [[("t", 1, 9)]]


def test_an_offset_that_cannot_be_stored_any_more_is_no_error(made: list[FakeClient]) -> None:
    """The partition was lost between look and act; every other error is told."""
    found, client = consumer(made, [FakeMessage(0, 5)], [FakeMessage(0, 6)])
    found.receive(10, 0)
    client.store_error = KafkaError(KafkaError._STATE)
    found.settle()
    found.receive(10, 0)
    client.store_error = KafkaError(KafkaError._INVALID_ARG)
    with pytest.raises(ClusterError):
        found.settle()


def test_deliveries_are_messages_in_order_and_without_errors(made: list[FakeClient]) -> None:
    """Kafka's errors come as messages: ones that pass are skipped, and an empty body is a body."""
    passing = FakeMessage(problem=KafkaError(KafkaError._ALL_BROKERS_DOWN))
    found, _ = consumer(
        made, [FakeMessage(1, 5, b"a"), passing, FakeMessage(0, 3, None)], [passing]
    )
    deliveries = found.receive(10, 0)
    assert deliveries
    assert (deliveries.bodies, deliveries.partitions, deliveries.offsets) == (
        [b"a", b""], [1, 0], [5, 3],
    )  # fmt: skip
    assert found.receive(10, 0) is None
    assert found.receive(10, 0) is None


def test_a_fatal_error_ends_the_consumer(made: list[FakeClient]) -> None:
    """It cannot go on, and says so."""
    fatal = FakeMessage(problem=KafkaError(KafkaError._FATAL, "fenced", fatal=True))
    found, _ = consumer(made, [fatal])
    with pytest.raises(ClusterError, match="fenced"):
        found.receive(10, 0)


# ------------------------------------------------------------------------------------ read back


def read(made: list[FakeClient], timeout_s: float, prepare: Callable[[FakeClient], None]) -> Any:
    real_make: Any = clients.Consumer

    def make(settings: dict[str, Any]) -> Any:
        client = real_make(settings)
        prepare(client)
        return client

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "Consumer", make)
        return list(read_back({}, "t", 2, timeout_s)), made[-1]


def test_all_of_every_partition_is_read_from_its_first_offset(made: list[FakeClient]) -> None:
    """Up to the end of the moment; transaction markers and compacted gaps hold nobody up."""

    def prepare(client: FakeClient) -> None:
        client.marks = {0: (2, 5), 1: (0, 0)}
        client.positions = {0: [4, 5], 1: [-1001]}
        client.incoming = [[FakeMessage(0, 2), FakeMessage(0, 3)], []]

    found, client = read(made, 5, prepare)
    deliveries = [each for each in found if isinstance(each, Deliveries)]
    assert [each.offsets for each in deliveries] == [[2, 3]]
    assert found[len(deliveries) :] == [PartitionEnd(0, 2, 5, 5), PartitionEnd(1, 0, 0, 0)]
    assert client.assigned == [(0, OFFSET_BEGINNING), (1, OFFSET_BEGINNING)]
    assert client.settings["enable.auto.commit"] is False
    assert client.done == ["close"]


def test_a_partition_that_does_not_answer_has_no_end(made: list[FakeClient]) -> None:
    """It does not keep the others from being read, and one that was not read to its end in time
    says how far: neither is taken for empty."""

    def prepare(client: FakeClient) -> None:
        client.marks = {0: None, 1: (0, 5)}
        client.positions = {1: [3]}
        client.incoming = [[FakeMessage(1, number) for number in range(3)]]

    found, client = read(made, 0.2, prepare)
    assert [each for each in found if isinstance(each, PartitionEnd)] == [PartitionEnd(1, 0, 5, 3)]
    assert client.done == ["close"]
