"""What is read back of RabbitMQ's queues and streams, and when it is believed to be all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries, PartitionEnd
from chaos_adapters.brokers.rabbitmq import admin, consumer, reading
from chaos_adapters.brokers.rabbitmq.consumer import RabbitConsumer
from chaos_adapters.brokers.rabbitmq.settings import Consuming
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from chaos_adapters.brokers.rabbitmq.tales import backlog, gone

_CLIENTS = {
    f"rabbitmq-{number}": Address("127.0.0.1", number, (("management", 9),)) for number in (1, 2)
}
_START_S = 100.0


class _Broker:
    """Queues with so many messages, which a reader gets 100 at a time; a channel gets no more than
    `prefetch` on each subscription. Also the clock and the API of each node.

    `told` is how many messages nodes say that queues hold; those that are not `served` let nobody
    subscribe; the channel of queue 0 is lost once, when it has sent `lost_at` messages.
    """

    def __init__(
        self,
        there: Sequence[int],
        told: Mapping[int, int] | None = None,
        served: Sequence[int] | None = None,
        lost_at: int = -1,
        deleted: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.there, self.lost_at, self.deleted = there, lost_at, deleted or {}
        self.told = dict(enumerate(there)) if told is None else told
        self.served = range(len(there)) if served is None else served
        self.now_s, self.prefetch = _START_S, 0
        self.channels: dict[int, object] = {}
        self.sent = [0] * len(there)
        self.allowed = [0] * len(there)
        self.streaming = self.left = False

    def monotonic(self) -> float:
        return self.now_s

    def reader(
        self, _: object, names: Sequence[str], settings: Consuming, arguments: object, whole: bool
    ) -> _Broker:
        self.streaming = bool(arguments)
        if whole and len(self.served) < len(names):
            raise ClusterError("none lets clients in")
        self.prefetch = settings.prefetch or 2000  # what a quorum queue makes of 0
        return self

    def channel(self, partition: int) -> object | None:
        return self.channels.get(partition)

    def more(self, partition: int) -> None:
        self.allowed[partition] += self.prefetch

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        self.now_s += 0.001
        if self.sent[0] == self.lost_at and self.channels:
            self.lost_at, self.sent[0] = -1, self.sent[0] if self.streaming else 0
            del self.channels[0]
            self.now_s += timeout_s
            return None
        for number in self.served:
            if number not in self.channels:
                self.channels[number], self.allowed[number] = object(), self.prefetch
                self.allowed[number] += self.sent[number]
            ready = min(self.there[number], self.allowed[number]) - self.sent[number]
            if count := min(100, most, ready):
                self.sent[number] += count
                return Deliveries([b""] * count, [number] * count, [-1] * count, 0)
        self.now_s += timeout_s
        return None

    def settle(self) -> None:
        self.allowed = [sent + self.prefetch for sent in self.sent]

    def abandon(self) -> None:
        self.left = True

    def held(self, api: Any, stream: Queues, timeout_s: float) -> Mapping[int, int]:
        assert not self.left  # what goes back is told when it likes
        if api.node == "rabbitmq-1":
            raise ClusterError("does not answer")
        return {} if self.streaming else self.told

    def counts(self, clients: object, streams: Sequence[str]) -> Mapping[int, int]:
        return self.told

    def gone(self, api: Any, stream: Queues, timeout_s: float) -> frozenset[int]:
        if api.node not in self.deleted:
            raise ClusterError("does not answer")
        return frozenset(self.deleted[api.node])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[PartitionEnd]]]:
    """Read a broker back: how many messages came, and how each queue ended."""

    def found(broker: _Broker, kind: Kind = Kind.QUORUM) -> tuple[int, list[PartitionEnd]]:
        monkeypatch.setattr(reading, "time", broker)
        monkeypatch.setattr(reading, "RabbitConsumer", broker.reader)
        monkeypatch.setattr(reading, "held", broker.held)
        monkeypatch.setattr(reading, "counts", broker.counts)
        monkeypatch.setattr(reading, "gone", broker.gone)
        stream = Queues(kind=kind, queues=len(broker.there))
        came = list(reading.read_back(_CLIENTS, stream, 120.0))
        assert broker.left
        count = sum(len(each.bodies) for each in came if isinstance(each, Deliveries))
        return count, [each for each in came if isinstance(each, PartitionEnd)]

    return found


Read = Callable[..., tuple[int, list[PartitionEnd]]]


@pytest.mark.parametrize("kind", list(Kind))
def test_all_that_there_is_is_read(read: Read, kind: Kind) -> None:
    """Also of a queue that holds nothing."""
    ends = [PartitionEnd(0, 0, 300, 300), PartitionEnd(1, 0, 0, 0)]
    assert read(_Broker([300, 0]), kind) == (300, ends)


@pytest.mark.parametrize("kind", [Kind.QUORUM, Kind.STREAM])
def test_more_is_read_than_nodes_tell(read: Read, kind: Kind) -> None:
    """They tell it late, or 0 when they do not know; what is stored is no less stored."""
    assert read(_Broker([500], told={0: 0}), kind) == (500, [PartitionEnd(0, 0, 500, 500)])


_SAID: Mapping[int, Sequence[int | type[Exception]]] = {
    1: [0, 600, ChannelClosedByBroker, 7],
    2: [1000, ChannelClosedByBroker, ChannelClosedByBroker, StreamLostError],
}
"""What nodes say of four streams, in turn."""


class _Counting:
    """A connection to the node on a port, on which queues are declared passively."""

    def __init__(self, parameters: Any) -> None:
        self.said, self.is_open = _SAID[parameters.port], True

    def channel(self) -> _Counting:
        return self

    def queue_declare(self, name: str, *, passive: bool) -> SimpleNamespace:
        assert passive
        said = self.said[int(name[-1])]
        if isinstance(said, int):
            return SimpleNamespace(method=SimpleNamespace(message_count=said))
        raise said(404, "none") if said is ChannelClosedByBroker else said

    def close(self) -> None:
        """Nothing is left of it."""


def test_a_stream_has_as_many_messages_as_the_most_that_a_node_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that does not reach the leader says 0, one that led before what it had then; what
    nobody knows is left out."""
    monkeypatch.setattr(admin.pika, "BlockingConnection", _Counting)
    assert admin.counts(_CLIENTS, Queues(queues=4).names) == {0: 1000, 1: 600, 3: 7}


@pytest.mark.parametrize("kind", [Kind.QUORUM, Kind.STREAM])
def test_what_does_not_come_is_told(read: Read, kind: Kind) -> None:
    """Less was read than there is: nobody can say that the rest is lost."""
    assert read(_Broker([300], told={0: 500}), kind) == (300, [PartitionEnd(0, 0, 500, 300)])


def test_nothing_is_believed_of_a_queue_that_nobody_can_ask(read: Read) -> None:
    """All that came may be less than there is."""
    _, (first, second) = read(_Broker([300, 0], told={0: 300}))
    assert first.read == first.end
    assert second.read < second.end


def test_a_queue_that_serves_nobody_is_unknown_and_the_others_are_read(read: Read) -> None:
    """A leader that does not answer is told as a queue of nothing; a queue that is listed, or of
    which one node does not say that it is not, is not gone."""
    for deleted in ({}, {"rabbitmq-1": [0]}, {"rabbitmq-1": [0], "rabbitmq-2": []}):
        broker = _Broker([10, 300], told={0: 0, 1: 300}, served=[1], deleted=deleted)
        count, (first, second) = read(broker)
        assert (count, second) == (300, PartitionEnd(1, 0, 300, 300))
        assert first.read < first.end


def test_a_queue_that_is_gone_holds_nothing(read: Read) -> None:
    """All nodes say so: what was in it is lost, and the others are read."""
    deleted = {node: [0] for node in _CLIENTS}
    broker = _Broker([0, 300], told={1: 300}, served=[1], deleted=deleted)
    ends = [PartitionEnd(0, 0, 0, 0), PartitionEnd(1, 0, 300, 300)]
    assert read(broker, Kind.CLASSIC) == (300, ends)


def test_what_comes_again_is_not_counted_again(read: Read) -> None:
    """600 of 1,000 came when the channel was lost: 400 are still to come behind them."""
    count, ends = read(_Broker([1000], lost_at=600))
    assert (count, ends) == (1600, [PartitionEnd(0, 0, 1000, 1000)])


def test_a_stream_goes_on_where_it_was(read: Read) -> None:
    """Behind what came on the channel that was lost; and what came is settled, or no more would."""
    count, ends = read(_Broker([5000], lost_at=2500), Kind.STREAM)
    assert (count, ends) == (5000, [PartitionEnd(0, 0, 5000, 5000)])


def test_a_channel_that_is_lost_late_leaves_nothing_known(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All came, then the queue serves nobody any more: it may have gone back or not."""
    broker = _Broker([300], lost_at=300)
    monkeypatch.setattr(broker, "receive", _once_served(broker))
    _, (end,) = read(broker)
    assert end.read < end.end


def _once_served(broker: _Broker) -> Callable[[int, float], Deliveries | None]:
    receive = broker.receive

    def received(most: int, timeout_s: float) -> Deliveries | None:
        found = receive(most, timeout_s)
        if broker.lost_at < 0:
            broker.served = []
        return found

    return received


def test_a_queue_is_read_beyond_the_prefetch(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is never settled, and a quorum queue sends no more than that, nor more than
    2,000 to whoever sets none."""
    assert read(_Broker([5000]))[1] == [PartitionEnd(0, 0, 5000, 5000)]
    monkeypatch.setattr(reading, "_MOST", 700)
    assert read(_Broker([5000], lost_at=2100))[1] == [PartitionEnd(0, 0, 5000, 5000)]


class _Connection:
    """Opens channels, which write down what they are asked for."""

    def __init__(self) -> None:
        self.channels: list[SimpleNamespace] = []

    def channel(self, on_open_callback: Callable[[object], None]) -> None:
        calls: list[tuple[str, object]] = []
        channel = SimpleNamespace(calls=calls, is_open=True)
        channel.add_on_close_callback = channel.add_on_cancel_callback = lambda _: None
        channel.basic_qos = lambda prefetch_count: calls.append(("qos", prefetch_count))
        channel.basic_cancel = lambda tag: calls.append(("cancel", tag))

        def consume(queue: str, _: object, callback: Callable[[object], None], **__: object) -> str:
            calls.append(("consume", queue))
            callback(None)
            return f"tag-{len(calls)}"

        channel.basic_consume = consume
        self.channels.append(channel)
        on_open_callback(channel)


def _line(connection: _Connection, gone: Sequence[int]) -> Callable[..., SimpleNamespace]:
    """A line that is up at once, to a broker without some of the queues."""

    def line(_: object, __: object, opened: Callable[[Any], None], ___: object) -> SimpleNamespace:
        def connect(timeout_s: float, ready: Callable[[], bool]) -> None:
            if not ready():
                opened(connection)
            for number in gone:
                connection.channels[number].calls.clear()
                opened.__self__._channels.pop(number, None)  # type: ignore[attr-defined]
            if not ready():
                raise ClusterError("none lets clients in")

        return SimpleNamespace(connect=connect)

    return line


def test_a_reader_begins_with_the_queues_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer has all of them from the start."""
    names = Queues(queues=2).names
    monkeypatch.setattr(consumer, "Line", _line(_Connection(), gone=[0]))
    with pytest.raises(ClusterError):
        RabbitConsumer(_CLIENTS, names, Consuming(), {})
    reader = RabbitConsumer(_CLIENTS, names, Consuming(), {}, whole=False)
    assert reader.channel(0) is None
    assert reader.channel(1) is not None


def test_more_is_asked_for_on_the_same_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what came stays there, and the subscription that is full sends nothing more."""
    connection = _Connection()
    monkeypatch.setattr(consumer, "Line", _line(connection, gone=[]))
    reader = RabbitConsumer(_CLIENTS, ["q.0"], Consuming(prefetch=9), {}, whole=False)
    reader.more(0)
    calls = [("qos", 9), ("consume", "q.0"), ("cancel", "tag-2"), ("consume", "q.0")]
    assert connection.channels[0].calls == calls
    assert reader.channel(0) is connection.channels[0]


class _Api:
    """A node that lists queue 1 of 2, and the nodes that it sees."""

    node = "rabbitmq-1"

    def __init__(self, *nodes: Mapping[str, object]) -> None:
        self.nodes = nodes

    def listed(self, path: str, timeout_s: float) -> Sequence[Mapping[str, object]]:
        return self.nodes if path.startswith("nodes") else [{"name": "chaos.1", "messages": 7}]


_RUNS: Mapping[str, object] = {"name": "rabbit@rabbitmq-1", "running": True, "partitions": []}


def test_a_queue_that_no_node_lists_is_gone() -> None:
    """It holds nothing, so that nobody waits for it for ever."""
    api: Any = _Api(_RUNS, _RUNS)
    assert gone(api, Queues(queues=2), 1.0) == {0}
    assert backlog(api, Queues(queues=2), 1.0) == {0: 0, 1: 7}


@pytest.mark.parametrize("change", [{"running": False}, {"partitions": ["rabbit@rabbitmq-2"]}])
def test_a_queue_is_not_gone_while_nodes_are_down_or_apart(change: Mapping[str, object]) -> None:
    """Those may know of it."""
    api: Any = _Api(_RUNS, {**_RUNS, **change})
    assert not gone(api, Queues(queues=2), 1.0)
    with pytest.raises(ClusterError, match="does not know"):
        backlog(api, Queues(queues=2), 1.0)
