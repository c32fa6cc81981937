"""The observer beside brokers that answer, hang, refuse and lie; Kafka's protocol by kio."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from kio.schema.describe_quorum.v1 import response as quorum
from kio.schema.errors import ErrorCode
from kio.schema.metadata.v12 import response as metadata
from kio.schema.types import BrokerId, TopicName
from kio.serial import entity_writer
from kio.static.primitive import i32, i32Timedelta, i64

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, View
from chaos.timing import wait_until
from chaos_adapters.brokers.kafka import wire
from chaos_adapters.brokers.kafka.observer import KafkaObserver

METADATA, QUORUM = 3, 55
TOPIC = "chaos-1"


def body(answer: object) -> bytes:
    """An answer as it goes over the wire, with its header."""
    content = io.BytesIO()
    header = answer.__header_schema__(correlation_id=i32(7))  # type: ignore[attr-defined]
    for each in (header, answer):
        entity_writer(type(each))(content, each)  # type: ignore[type-var]
    return struct.pack(">i", content.tell()) + content.getvalue()


def tells(leader: int, epoch: int, topic: str = TOPIC) -> bytes:
    """Metadata of one partition on three brokers."""
    nodes = tuple(BrokerId(number) for number in (1, 2, 3))
    partition = metadata.MetadataResponsePartition(
        error_code=ErrorCode.none, partition_index=i32(0), leader_id=BrokerId(leader),
        leader_epoch=i32(epoch), replica_nodes=nodes, isr_nodes=nodes,
    )  # fmt: skip
    found = metadata.MetadataResponseTopic(
        error_code=ErrorCode.none, name=TopicName(topic), topic_id=None, partitions=(partition,)
    )
    brokers = tuple(
        metadata.MetadataResponseBroker(node_id=node, host="127.0.0.1", port=i32(1))
        for node in nodes
    )
    return body(metadata.MetadataResponse(
        throttle_time=i32Timedelta(timedelta(0)), brokers=brokers, topics=(found,)
    ))  # fmt: skip


def names(leader: int, epoch: int) -> bytes:
    """DescribeQuorum."""
    partition = quorum.PartitionData(
        partition_index=i32(0), error_code=ErrorCode.none, leader_id=BrokerId(leader),
        leader_epoch=i32(epoch), high_watermark=i64(0), current_voters=(), observers=(),
    )  # fmt: skip
    topic = quorum.TopicData(topic_name=TopicName("__cluster_metadata"), partitions=(partition,))
    return body(quorum.DescribeQuorumResponse(error_code=ErrorCode.none, topics=(topic,)))


class FakeBroker:
    """Answers by `answers[api key]`; hangs while `frozen` is set, as a paused process does."""

    def __init__(self) -> None:
        self.answers = {METADATA: tells(1, 0), QUORUM: names(2, 1)}
        self.awake = threading.Event()
        self.awake.set()
        self.pieces = 1
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while head := connection.recv(4, socket.MSG_WAITALL):
                (size,) = struct.unpack(">i", head)
                request = connection.recv(size, socket.MSG_WAITALL)
                self.asked += 1
                self.awake.wait(30)
                answer = self.answers[int.from_bytes(request[:2], "big")]
                step = max(1, len(answer) // self.pieces)
                for start in range(0, len(answer), step):
                    connection.sendall(answer[start : start + step])
                if not answer:
                    return

    def close(self) -> None:
        """Refuse connections from now on."""
        self.awake.set()
        with suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def brokers() -> Iterator[list[FakeBroker]]:
    """Three."""
    found = [FakeBroker() for _ in range(3)]
    yield found
    for broker in found:
        broker.close()


@pytest.fixture
def observer(brokers: list[FakeBroker]) -> Iterator[KafkaObserver]:
    """Of these three."""
    clients = {f"kafka-{n}": broker.address for n, broker in enumerate(brokers, 1)}
    found = KafkaObserver(clients, TOPIC)
    yield found
    found.close()


def until(look: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    wait_until(look, what, 10, every_s=0.005)


def test_a_look(observer: KafkaObserver, brokers: list[FakeBroker]) -> None:
    """Leaders from every broker, the controller from one of them."""
    until(lambda: observer.observe(5).controller == "kafka-2", "the controller")
    view = observer.observe(5)
    assert view.leaders == {0: "kafka-1"}
    assert view.replicas[0] == view.in_sync[0] == view.alive == ("kafka-1", "kafka-2", "kafka-3")
    assert all(broker.asked for broker in brokers)


def test_an_answer_in_pieces_is_whole(observer: KafkaObserver, brokers: list[FakeBroker]) -> None:
    """TCP may cut it anywhere."""
    for broker in brokers:
        broker.pieces = 7
    assert observer.observe(5).leaders == {0: "kafka-1"}


def test_a_frozen_broker_delays_nobody(observer: KafkaObserver, brokers: list[FakeBroker]) -> None:
    """It is waited for once and briefly; the others are seen to change meanwhile. And what it
    answers when it wakes up is not what is so then."""
    observer.observe(5)
    brokers[0].awake.clear()
    observer.observe(5)
    started = time.monotonic()
    for _ in range(20):
        observer.observe(5)
    assert time.monotonic() - started < 2.0  # it hangs for 30 s; asked each time it would cost 1 s
    for broker in brokers[1:]:
        broker.answers[METADATA] = tells(2, 1)
    until(lambda: observer.observe(5).leaders == {0: "kafka-2"}, "the new leader")
    brokers[0].awake.set()
    for _ in range(20):
        assert observer.observe(5).leaders == {0: "kafka-2"}


def test_one_that_lags_behind_is_named_after_a_while(
    observer: KafkaObserver, brokers: list[FakeBroker]
) -> None:
    """A leader that is cut off goes on believing in itself."""
    for broker in brokers[1:]:
        broker.answers[METADATA] = tells(2, 1)
    views: list[View] = []

    def heard() -> bool:
        views.append(observer.observe(5))
        return views[-1].leaders == {0: "kafka-2"}

    until(heard, "the others' answers")  # a busy machine may be late with them
    assert views[-1].dissenting == ()
    until(lambda: observer.observe(5).dissenting == ("kafka-1",), "the dissenter")
    brokers[0].answers[METADATA] = tells(2, 1)
    until(lambda: observer.observe(5).dissenting == (), "agreement")


def test_a_deposed_leader_is_not_believed_when_it_answers_alone(
    observer: KafkaObserver, brokers: list[FakeBroker]
) -> None:
    """The others are slow or gone; who hears nobody does not know that it leads no more."""
    for broker in brokers[1:]:
        broker.answers[METADATA] = tells(2, 1)
    until(lambda: observer.observe(5).leaders == {0: "kafka-2"}, "the others' answers")
    for broker in brokers[1:]:
        broker.awake.clear()
    with pytest.raises(DeadlineExceeded, match="the last leaders"):
        observer.observe(0.2)
    for broker in brokers[1:]:
        broker.awake.set()
    until(lambda: sees(observer) == {0: "kafka-2"}, "the others")


def sees(observer: KafkaObserver) -> object:
    """The leaders, if anybody is believed."""
    try:
        return observer.observe(0.2).leaders
    except DeadlineExceeded:
        return None


def test_dead_brokers_are_done_without(observer: KafkaObserver, brokers: list[FakeBroker]) -> None:
    """The others tell; all of them dead is an error in time."""
    for broker in brokers[:2]:
        broker.close()
        broker.answers = dict.fromkeys(broker.answers, b"")
    assert observer.observe(5).leaders == {0: "kafka-1"}
    assert observer.observe(5).leaders == {0: "kafka-1"}
    brokers[2].close()
    brokers[2].answers = dict.fromkeys(brokers[2].answers, b"")
    with pytest.raises(ClusterError):
        until(lambda: not observer.observe(0.2), "an error")


def test_a_new_controller_is_the_one_of_the_newest_epoch(
    observer: KafkaObserver, brokers: list[FakeBroker]
) -> None:
    """A broker that still names the old one does not bring it back."""
    until(lambda: observer.observe(5).controller == "kafka-2", "the controller")
    brokers[0].answers[QUORUM] = names(3, 2)
    until(lambda: observer.observe(5).controller == "kafka-3", "the new controller")
    for _ in range(12):
        assert observer.observe(5).controller == "kafka-3"


def test_a_controller_that_nobody_names_counts_as_none(
    observer: KafkaObserver, brokers: list[FakeBroker]
) -> None:
    """While there is an election the question has no leader for its answer."""
    until(lambda: observer.observe(5).controller == "kafka-2", "the controller")
    for broker in brokers:
        broker.answers[QUORUM] = names(-1, 2)
    until(lambda: observer.observe(5).controller == "kafka-2", "the controller")
    until(lambda: observer.observe(5).controller is None, "no controller")


def test_nonsense_is_no_answer(brokers: list[FakeBroker]) -> None:
    """Whatever listens there: a wrong length, a torn body, an end."""
    whole = tells(1, 0)
    for answer in (b"HTTP/1.1 400 Bad Request", whole[:40].replace(whole[:4], b"\0\0\0\x24"), b""):
        brokers[0].answers[METADATA] = answer
        with pytest.raises(ClusterError, match="does not answer"):
            wire.ask(brokers[0].address, wire.metadata(TOPIC), 2)


def test_nobody_there_is_told_at_once() -> None:
    """A refused connection does not use up the time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address(*server.getsockname())
    started = time.monotonic()
    with pytest.raises(ClusterError):
        wire.ask(address, wire.metadata(TOPIC), 10)
    assert time.monotonic() - started < 5


def test_an_unknown_topic_is_an_error(observer: KafkaObserver, brokers: list[FakeBroker]) -> None:
    """There is nothing to see of it."""
    for broker in brokers:
        broker.answers[METADATA] = tells(1, 0, topic="other")
    with pytest.raises(ClusterError, match=TOPIC):
        observer.observe(5)
