"""The stream protocol by rstream, against nodes that say what a test wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rstream import schema
from rstream.amqp import AMQPMessage

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries, Outcome
from chaos_adapters.brokers.rabbitmq import Rabbitmq
from chaos_adapters.brokers.rabbitmq.drivers.rstream import lane
from chaos_adapters.brokers.rabbitmq.drivers.rstream.consumer import StreamConsumer
from chaos_adapters.brokers.rabbitmq.drivers.rstream.producer import StreamProducer
from chaos_adapters.brokers.rabbitmq.drivers.rstream.settings import Consuming, Publishing
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from tests.unit.stream_nodes import STREAM, Node, nodes


class _Sink:
    def __init__(self) -> None:
        self.acked: list[int] = []
        self.failures: list[tuple[int, Outcome]] = []
        self.why: set[str] = set()

    def acknowledged(self, sequences: Any, partitions: Any, offsets: Any, done_ns: int) -> None:
        self.acked += sequences

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        self.failures.append((sequence, outcome))
        self.why.add(reason)


@pytest.fixture
def cluster() -> Iterator[list[Node]]:
    with nodes() as three:
        yield three


def _clients(cluster: list[Node]) -> dict[str, Address]:
    return {f"rabbitmq-{node.number + 1}": node.address for node in cluster}


def _producing(cluster: list[Node], **settings: object) -> tuple[StreamProducer, _Sink]:
    sink = _Sink()
    wanted = Publishing(**{"reconnect_pause": 0.05, **settings})  # type: ignore[arg-type]
    return StreamProducer(_clients(cluster), [STREAM], wanted, sink), sink


def _consuming(cluster: list[Node], **settings: object) -> StreamConsumer:
    wanted = Consuming(**{"reconnect_pause": 0.05, **settings})  # type: ignore[arg-type]
    return StreamConsumer(_clients(cluster), [STREAM], wanted, "group")


def _poll(producer: StreamProducer, until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        producer.poll(0.02)
        assert time.monotonic() < deadline


def _received(consumer: StreamConsumer, most: int = 100) -> Deliveries:
    deadline = time.monotonic() + 10
    while not (found := consumer.receive(most, 0.05)):
        assert time.monotonic() < deadline
    return found


def _amqp(*bodies: bytes) -> list[bytes]:
    return [bytes(AMQPMessage(body=body)) for body in bodies]


def test_confirmed_refused_and_lost_messages_are_told_apart(cluster: list[Node]) -> None:
    """An error code is a refusal; what has no answer when the connection is lost is unknown."""
    leader = cluster[0]
    producer, sink = _producing(cluster)
    assert producer.told() == {"node": "rabbitmq-1"}
    producer.send(0, [None] * 2, [b"a", b"b"])
    _poll(producer, lambda: sink.acked == [0, 1])
    leader.mood = "refuse"
    producer.send(2, [None], [b"c"])
    _poll(producer, lambda: sink.failures == [(2, Outcome.REFUSED)])
    leader.mood = "keep"
    producer.send(3, [None], [b"d"])
    _poll(producer, lambda: ("", 3) in leader.published)
    leader.cut()
    _poll(producer, lambda: (3, Outcome.INDETERMINATE) in sink.failures)
    assert sink.acked == [0, 1]
    producer.close(1.0)


def test_what_is_handed_over_without_a_leader_waits_for_one_within_the_window(
    cluster: list[Node],
) -> None:
    """The new leader is found by the word of another node, and gets it all, in order."""
    producer, sink = _producing(cluster, window=3)
    for node in cluster:
        node.leader = None
    cluster[0].stop()
    _poll(producer, lambda: producer.told()["node"] is None)
    assert producer.send(0, [None] * 5, [b"x"] * 5) == 3
    producer.poll(0.05)
    for node in cluster[1:]:
        node.leader, node.replicas = 2, [1]
    _poll(producer, lambda: sink.acked == [0, 1, 2])
    assert producer.told() == {"node": "rabbitmq-3"}
    assert cluster[2].published == [("", 0), ("", 1), ("", 2)]
    assert not sink.failures
    producer.close(1.0)


def test_unconfirmed_messages_are_sent_again_if_that_is_wanted(cluster: list[Node]) -> None:
    """Before those that came later, under their numbers and the name that they had."""
    cluster[0].mood = "keep"
    producer, sink = _producing(cluster, send_again=True, deduplicate=True)
    producer.send(0, [None] * 2, [b"a", b"b"])
    _poll(producer, lambda: len(cluster[0].published) == 2)
    cluster[0].mood = "confirm"
    producer.send(2, [None], [b"c"])
    cluster[0].cut()
    _poll(producer, lambda: len(sink.acked) == 3)
    assert not sink.failures
    assert [number for _, number in cluster[0].published][-3:] == [0, 1, 2]
    (name,) = {name for name, _ in cluster[0].published}
    assert name.startswith("mqchaos-")
    producer.close(1.0)


def test_what_was_sent_before_is_of_unknown_fate_when_it_is_refused(cluster: list[Node]) -> None:
    """The first time it may have been stored. What was never open on a lost connection was not."""
    leader = cluster[0]
    leader.mood = "keep"
    producer, sink = _producing(cluster, send_again=True)
    producer.send(0, [None], [b"a"])
    _poll(producer, lambda: len(leader.published) == 1)
    leader.mood = "refuse"
    leader.cut()
    _poll(producer, lambda: sink.failures == [(0, Outcome.INDETERMINATE)])
    producer.send(1, [None], [b"b"])
    _poll(producer, lambda: sink.failures[1:] == [(1, Outcome.REFUSED)])
    producer.close(1.0)


def test_a_silent_leader_is_given_up(cluster: list[Node]) -> None:
    """rstream only logs that heartbeats are missing."""
    cluster[0].mood = "keep"
    producer, sink = _producing(cluster, heartbeat=1)
    producer.send(0, [None], [b"a"])
    _poll(producer, lambda: sink.failures)
    assert sink.failures == [(0, Outcome.INDETERMINATE)]
    assert any("silent" in why for why in sink.why)
    producer.close(1.0)


@pytest.mark.parametrize("frame", [
    schema.Close(1, 1, "shutting down"), schema.MetadataUpdate(schema.MetadataInfo(6, STREAM)),
    schema.Tune(1, 1),
])  # fmt: skip
def test_a_node_that_says_so_or_nonsense_is_left(cluster: list[Node], frame: schema.Frame) -> None:
    """Also when rstream's reader ends at a frame, of which it tells nobody."""
    cluster[0].mood = "keep"
    producer, sink = _producing(cluster)
    producer.send(0, [None], [b"a"])
    _poll(producer, lambda: cluster[0].published)
    unreadable = isinstance(frame, schema.Tune)
    cluster[0].say(frame, response=unreadable)
    _poll(producer, lambda: sink.failures)
    assert sink.failures == [(0, Outcome.INDETERMINATE)]
    assert any("cannot read" in why for why in sink.why) is unreadable
    producer.close(1.0)


def test_nobody_there_is_told_when_it_starts(
    cluster: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what failed last."""
    monkeypatch.setattr(lane, "_CONNECT_S", 0.3)
    for node in cluster:
        node.leader = None
    with pytest.raises(ClusterError, match="not yet elected"):
        _producing(cluster)


def test_each_delivery_has_its_offset_and_credit_is_for_what_was_taken(
    cluster: list[Node],
) -> None:
    """From a replica; a chunk that is not handed over to its end is worth nothing yet."""
    replica = cluster[1]
    consumer = _consuming(cluster, credit=2)
    assert consumer.told() == {"node": "rabbitmq-2"}
    assert (replica.subscribed, replica.credits) == ([0], 2)
    replica.deliver(0, _amqp(b"a", b"b", b"c"))
    first = _received(consumer, 2)
    assert (first.bodies, first.offsets) == ([b"a", b"b"], [0, 1])
    consumer.receive(0, 0.05)
    assert replica.credits == 2
    assert _received(consumer, 2).offsets == [2]
    consumer.receive(1, 0.05)
    assert replica.credits == 3
    consumer.close()


def test_a_consumer_goes_on_behind_what_came_in(cluster: list[Node]) -> None:
    """At another replica, whose chunk begins before it; nothing is delivered twice or left out."""
    consumer = _consuming(cluster)
    cluster[1].deliver(0, _amqp(b"a", b"b"))
    assert _received(consumer).offsets == [0, 1]
    for node in cluster:
        node.replicas = [2]
    cluster[1].cut()
    while not cluster[2].subscribed:
        consumer.receive(1, 0.02)
    assert cluster[2].subscribed == [2]
    cluster[2].deliver(1, _amqp(b"b", b"c"))
    assert _received(consumer).offsets == [2]
    consumer.close()


def test_a_chunk_that_comes_before_the_answer_is_worth_a_credit(cluster: list[Node]) -> None:
    """Else a consumer that comes back gets as many chunks as it has credit, and nothing more."""
    consumer = _consuming(cluster, credit=2)
    for node in cluster:
        node.replicas, node.early = [2], _amqp(b"a")
    cluster[1].cut()
    assert _received(consumer).offsets == [0]
    while cluster[2].credits < 3:
        consumer.receive(1, 0.02)
    consumer.close()


def test_positions_are_stored_and_taken_up_again_if_that_is_wanted(cluster: list[Node]) -> None:
    """Durably, when the consumer says so; else they are nobody's business."""
    for store, begins in ((False, 0), (True, 2)):
        consumer = _consuming(cluster, store_offsets=store)
        cluster[1].deliver(0, _amqp(b"a", b"b"))
        _received(consumer)
        consumer.settle_durably()
        consumer.close()
        assert cluster[1].positions == ({"group": 1} if store else {})
        again = _consuming(cluster, store_offsets=store)
        assert cluster[1].subscribed[-1] == begins
        again.close()


def test_what_is_no_amqp_is_delivered_as_it_is(cluster: list[Node]) -> None:
    """A stream takes any bytes."""
    consumer = _consuming(cluster)
    cluster[1].deliver(0, [b"\x01plain", b""])
    assert _received(consumer).bodies == [b"\x01plain", b""]
    consumer.close()


def test_other_queues_and_other_settings_are_refused() -> None:
    """At their places."""
    broker = Rabbitmq(client="rstream")
    assert not broker.problems(Queues(kind=Kind.STREAM))
    assert [path for path, _ in broker.problems(Queues())] == ["cluster.client"]
    wrong = broker.client_problems({"confirms": True, "window": 0}, {"credit": 70_000})
    assert [path.rpartition(".")[2] for path, _ in wrong] == ["confirms", "window", "credit"]


def test_what_is_sent_again_without_a_name_is_blamed() -> None:
    """The verdict labels a message that is stored twice by it; several streams are safe."""
    stream = Queues(kind=Kind.STREAM)

    def blamed(**producer: bool) -> set[str]:
        found = Rabbitmq(version="3.10.8", client="rstream").caveats(stream, producer, {})
        return {each.setting for each in found if each.question == "duplication"}

    assert blamed() == blamed(send_again=True, deduplicate=True) == set()
    assert blamed(send_again=True) == {"send_again=true"}
