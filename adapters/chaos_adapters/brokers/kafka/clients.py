"""Kafka's clients as the engine drives them: librdkafka through confluent-kafka."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import length_hint, methodcaller
from typing import cast

import numpy as np
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from numpy.typing import NDArray

from chaos.errors import ClusterError
from chaos.spi import NUMBER_AT, Address, Deliveries, Outcome, PartitionEnd, SendSink, Settings
from chaos.timing import now_ns

NEVER_STORED = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})
"""Errors after which a message is surely not stored: the message itself is at fault, so no try can
have succeeded. All others leave it open: librdkafka retries, and an earlier try may have been
stored although the last one was refused."""

_NOTHING_TO_COMMIT = frozenset({
    KafkaError._NO_OFFSET, KafkaError._STATE, KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID,
})  # fmt: skip
"""Errors of a commit after which the group goes on from what was committed before."""

CLIENT_DEFAULTS: Settings = {
    # librdkafka backs off up to 10 s between attempts to reach a broker that is down; a client that
    # measures failover should notice its return soon.
    "reconnect.backoff.max.ms": 1000,
}
CONSUMER_DEFAULTS: Settings = {
    "auto.offset.reset": "earliest",
    # Offsets are stored once the delivery is on record, so a crash repeats and never skips.
    "enable.auto.offset.store": False,
    # The default of 1000 stops fetching for a second whenever the local queue is full, which shows
    # as a second of delivery latency that the cluster did not cause.
    "fetch.queue.backoff.ms": 10,
}
_FLUSH_S = 0.01
_PARTITION, _OFFSET = methodcaller("partition"), methodcaller("offset")
QUIET = logging.getLogger("chaos.kafka")
"""Takes what librdkafka would print of broken connections, which are what runs are about."""
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def bootstrap(clients: Mapping[str, Address]) -> Settings:
    """How a client finds the cluster."""
    return {"bootstrap.servers": ",".join(map(str, clients.values()))}


class KafkaProducer:
    """spi.Producer; outcomes come from librdkafka's delivery reports.

    Reports are kept as they come and read a poll's worth at a time: work for each message is what
    limits the rate.
    """

    def __init__(self, settings: Settings, topic: str, sink: SendSink) -> None:
        self._topic, self._sink = topic, sink
        self._reports: list[Message] = []
        self._refused_at_once: deque[tuple[int, KafkaError]] = deque()
        delivered = self._delivery_report()
        try:
            self.client = Producer({**CLIENT_DEFAULTS, **settings, "on_delivery": delivered})
        except KafkaException as error:
            raise ClusterError(f"Kafka producer: {error}") from error

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """librdkafka's queue is bounded: a full one takes no more."""
        produce, topic = self.client.produce, self._topic
        left = iter(bodies)
        for body, key in zip(left, keys, strict=True):
            try:
                produce(topic, body, key)
            except BufferError:
                return len(bodies) - length_hint(left) - 1
            except KafkaException as error:
                # Told on the polling thread, like every other outcome.
                sequence = first + len(bodies) - length_hint(left) - 1
                self._refused_at_once.append((sequence, error.args[0]))
        return len(bodies)

    def _delivery_report(self) -> Callable[[KafkaError | None, Message], None]:
        """What librdkafka calls for every message: a closure, as each look-up counts here."""
        acknowledged, failed = self._reports.append, self._failed

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                acknowledged(message)
            else:
                failed(int(_numbers([message])[0]), error, message.partition())

        return delivered

    def _failed(self, sequence: int, error: KafkaError, partition: int | None) -> None:
        refused = error.code() in NEVER_STORED
        outcome = Outcome.REFUSED if refused else Outcome.INDETERMINATE
        where = -1 if partition is None else partition
        self._sink.failed(sequence, where, now_ns(), outcome, error.name())

    def poll(self, timeout_s: float) -> None:
        """Delivery reports are called back from here, and a fatal error is raised. ClusterError."""
        try:
            self.client.poll(timeout_s)
        except KafkaException as error:
            raise ClusterError(f"Kafka producer: {error.args[0]}") from error
        finally:
            self._tell()

    def _tell(self) -> None:
        """Pass on what was reported. All of it is dated now, later than it was known by what the
        calls back took, which is some 0.1 us for each message: never too early."""
        done_ns, reports = now_ns(), self._reports
        if reports:
            self._sink.acknowledged(
                _numbers(reports), _column(_PARTITION, reports),
                _column(_OFFSET, reports), done_ns,
            )  # fmt: skip
            reports.clear()
        while self._refused_at_once:
            self._failed(*self._refused_at_once.popleft(), -1)

    def close(self, timeout_s: float) -> None:
        """Delivery reports are called back from here too, so `poll` must no longer be called."""
        deadline = time.monotonic() + timeout_s
        # Little by little, as reports are dated when a call returns.
        while self.client.flush(_FLUSH_S) and time.monotonic() < deadline:
            self._tell()
        self._tell()


def _column(of: Callable[[Message], int | None], messages: Sequence[Message]) -> NDArray[np.int64]:
    """What each message says of itself, -1 for nothing: with acks=0 brokers tell no offset."""
    try:
        return np.fromiter(map(of, messages), np.int64, len(messages))
    except TypeError:
        return np.array([-1 if (told := of(each)) is None else told for each in messages])


def _numbers(messages: Sequence[Message]) -> NDArray[np.int64]:
    """The sequence numbers of messages, which stand in their bodies."""
    # Cuts off what comes behind it; what is left of each is a few numbers, of which it is the last.
    heads = np.array([message.value() for message in messages], f"S{NUMBER_AT + 8}")
    numbers: NDArray[np.int64] = heads.view("<i8").reshape(len(messages), -1)[:, -1]
    return numbers


class KafkaConsumer:
    """spi.Consumer; offsets are committed by librdkafka's timer, as applications do."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._received: dict[int, int] = {}
        # Whoever has librdkafka store offsets by itself gets what that means: it may skip.
        self._automatic = str(settings.get("enable.auto.offset.store", False)).lower() == "true"
        try:
            self._client = Consumer({**CLIENT_DEFAULTS, **CONSUMER_DEFAULTS, **settings})
            self._client.subscribe([topic], on_revoke=self._revoked, on_lost=self._revoked)
        except KafkaException as error:
            raise ClusterError(f"Kafka consumer: {error}") from error
        self._topic = topic

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """Waits for the first message only: waiting for a full batch would date it too late."""
        first = self._client.poll(timeout_s)
        if first is None:
            return None
        found = [first, *self._client.consume(most - 1, 0)]
        received_ns = now_ns()
        messages = [message for message in found if _is_message(message)]
        if not messages:
            return None
        deliveries = _deliveries(messages, received_ns)
        for partition, offset in zip(deliveries.partitions, deliveries.offsets, strict=True):
            self._received[partition] = offset + 1
        return deliveries

    def settle(self) -> None:
        """Store the offsets *after* the last received ones; the timer commits them."""
        if not self._received or self._automatic:
            return
        offsets = [TopicPartition(self._topic, p, offset) for p, offset in self._received.items()]
        self._received.clear()
        try:
            self._client.store_offsets(offsets=offsets)
        except KafkaException as error:
            # A partition was taken away meanwhile: its new owner reads these messages again.
            if error.args[0].code() != KafkaError._STATE:
                raise ClusterError(f"Kafka consumer: {error}") from error

    def settle_durably(self) -> None:
        """Commit now, as applications do that commit by hand."""
        self.settle()
        try:
            self._client.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _NOTHING_TO_COMMIT:
                raise ClusterError(f"Kafka consumer: {error}") from error

    def _revoked(self, client: Consumer, partitions: Sequence[TopicPartition]) -> None:  # noqa: ARG002
        for gone in partitions:
            self._received.pop(gone.partition, None)

    def close(self) -> None:
        """Commits and leaves the group."""
        self.settle()
        self._client.close()


def _is_message(message: Message) -> bool:
    """Whether it is one; Kafka's errors come as messages. Raises ClusterError for a fatal one."""
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise ClusterError(f"Kafka consumer: {error}")
    return False


def _deliveries(messages: Sequence[Message], received_ns: int) -> Deliveries:
    return Deliveries(
        bodies=[message.value() or b"" for message in messages],
        partitions=cast(list[int], [message.partition() for message in messages]),
        offsets=cast(list[int], [message.offset() for message in messages]),
        received_ns=received_ns,
    )


def read_back(
    settings: Settings, topic: str, partitions: int, timeout_s: float
) -> Iterator[Deliveries | PartitionEnd]:
    """Read all partitions from their first offset to the high watermark of this moment.

    A partition whose leader does not answer gets no PartitionEnd; one that was not read to its end
    in time says how far it was read.
    """
    client = Consumer({
        **CLIENT_DEFAULTS, **CONSUMER_DEFAULTS, **settings, "group.id": f"read-back-{topic}",
        "enable.auto.commit": False,
        # Markers of transactions take offsets too, so that the last message may not be the end.
        "enable.partition.eof": True,
    })  # fmt: skip
    deadline = time.monotonic() + timeout_s
    try:
        ranges = dict(_ranges(client, topic, partitions, deadline - timeout_s / 2))
        client.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ranges])
        read = {number: first for number, (first, _) in ranges.items()}

        def unread() -> bool:
            return any(read[number] < end for number, (_, end) in ranges.items())

        while unread() and time.monotonic() < deadline:
            found = client.consume(1000, 0.1)
            if messages := [one for one in found if _is_message(one)]:
                yield _deliveries(messages, now_ns())
            for partition, offset in _ends_reached(found):
                read[partition] = max(read[partition], offset)
            for position in client.position([TopicPartition(topic, p) for p in ranges]):
                read[position.partition] = max(read[position.partition], position.offset)
        for number, (first, end) in ranges.items():
            yield PartitionEnd(number, first, end, read[number])
    except KafkaException as error:
        raise ClusterError(f"reading {topic} back: {error}") from error
    finally:
        client.close()


def _ends_reached(found: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """Partition and offset of each end that was reached."""
    for one in found:
        error = one.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            yield cast(int, one.partition()), cast(int, one.offset())


def _ranges(
    client: Consumer, topic: str, partitions: int, deadline: float
) -> Iterator[tuple[int, tuple[int, int]]]:
    """First and end offset of each partition whose leader answers before the deadline.

    They are asked in turn, so that one without a leader does not keep the others from being read.
    """
    silent = list(range(partitions))
    while silent and time.monotonic() < deadline:
        for number in silent[:]:
            where = TopicPartition(topic, number)
            left_s = max(0.1, deadline - time.monotonic())
            try:
                found = client.get_watermark_offsets(where, timeout=min(left_s, 5))
            except KafkaException:
                continue  # no leader yet
            if found:
                silent.remove(number)
                yield number, found
