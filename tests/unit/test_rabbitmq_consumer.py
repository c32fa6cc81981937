"""What a consumer of RabbitMQ tells, what it drops, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.errors import ClusterError
from chaos.spi import Deliveries
from chaos_adapters.brokers.rabbitmq import consumer
from chaos_adapters.brokers.rabbitmq.consumer import RabbitConsumer
from chaos_adapters.brokers.rabbitmq.settings import Consuming
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues


class _Channel:
    """Of one queue; it does at once what it is asked to."""

    def __init__(self) -> None:
        self.is_open, self.tag = True, 0
        self.acked: list[int] = []

    def add_on_close_callback(self, told: Any) -> None:
        self.closed = told

    def add_on_cancel_callback(self, told: Any) -> None:
        self.cancelled = told

    def basic_qos(self, prefetch_count: int, callback: Any = None) -> None:
        self.prefetch, self.answer = prefetch_count, callback

    def basic_consume(
        self, queue: str, told: Any, auto_ack: bool, arguments: Any, callback: Any
    ) -> None:
        self.queue, self.told, self.auto_ack, self.begins = queue, told, auto_ack, arguments
        callback(None)

    def basic_ack(self, tag: int, multiple: bool) -> None:
        assert multiple
        self.acked.append(tag)

    def close(self) -> None:
        assert self.is_open
        self.is_open = False
        self.closed(self, "over")

    def deliver(self, *bodies: bytes, again: bool = False, offset: int | None = None) -> None:
        """With offsets from `offset` on, if it is a stream's."""
        for number, body in enumerate(bodies):
            self.tag += 1
            headers = None if offset is None else {"x-stream-offset": offset + number}
            method = SimpleNamespace(delivery_tag=self.tag, redelivered=again)
            self.told(self, method, SimpleNamespace(headers=headers), body)


class _Connection:
    """Which opens each channel at once."""

    def __init__(self) -> None:
        self.channels: list[_Channel] = []

    def channel(self, on_open_callback: Any) -> None:
        self.channels.append(_Channel())
        on_open_callback(self.channels[-1])


class _Scene:
    """A consumer of queues on a connection, and a clock that stands still between turns."""

    node = "rabbitmq-2"

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, kind: Kind = Kind.QUORUM, **settings: Any
    ) -> None:
        self.now_s, self.closed, self.turns = 100.0, False, list[float]()
        self.happens: Callable[[], None] = lambda: None
        self.connection = _Connection()
        monkeypatch.setattr(consumer, "time", self)
        monkeypatch.setattr(consumer, "Line", self._line)
        queues = Queues(kind=kind, queues=2)
        wanted = Consuming(**settings)
        self.consumer = RabbitConsumer({}, queues.names, wanted, queues.consumed)

    def _line(self, clients: Any, settings: Any, opened: Any, lost: Any) -> _Scene:
        self.opened, self.lost = opened, lost
        return self

    def monotonic(self) -> float:
        return self.now_s

    def connect(self, timeout_s: float, ready: Callable[[], bool]) -> None:
        assert not ready()
        self.opened(self.connection)
        assert ready()

    def turn(self, timeout_s: float) -> None:
        self.turns.append(timeout_s)
        self.now_s += timeout_s
        self.happens()

    def close(self) -> None:
        self.closed = True

    def reconnect(self) -> None:
        """The connection is lost, with all channels, as pika tells it, and there is another one."""
        for channel in self.channels:
            if channel.is_open:
                channel.close()
        self.lost()
        self.connection = _Connection()
        self.opened(self.connection)

    @property
    def channels(self) -> list[_Channel]:
        """The first two are those of queues 0 and 1."""
        return self.connection.channels

    def receive(self, most: int = 100) -> Deliveries:
        found = self.consumer.receive(most, 0.1)
        assert found
        return found

    def nothing(self) -> bool:
        return self.consumer.receive(100, 0.1) is None


def test_each_message_is_told_with_its_queue_and_whether_it_was_delivered_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the order in which they came, as many as are wanted; queues have no offsets."""
    scene = _Scene(monkeypatch)
    assert scene.consumer.told() == {"node": "rabbitmq-2"}
    zero, one = scene.channels
    zero.deliver(b"a", again=True)
    one.deliver(b"b")
    zero.deliver(b"c")
    first = scene.receive(2)
    assert (first.bodies, first.partitions) == ([b"a", b"b"], [0, 1])
    assert (first.offsets, first.redelivered) == ([-1, -1], [True, False])
    rest = scene.receive(2)
    assert (rest.bodies, rest.redelivered) == ([b"c"], [False])
    assert scene.nothing()


@pytest.mark.parametrize("auto_ack", [False, True])
def test_what_waits_is_dropped_with_its_channel_where_the_queue_gives_it_out_again(
    monkeypatch: pytest.MonkeyPatch, auto_ack: bool
) -> None:
    """Handed over it would count twice, and its tag is no other channel's; what was acknowledged
    as it was sent comes from nowhere else. What another channel brought stays."""
    scene = _Scene(monkeypatch, auto_ack=auto_ack)
    zero, one = scene.channels
    zero.deliver(b"a", b"b")
    one.deliver(b"c")
    zero.close()
    assert scene.receive().bodies == ([b"a", b"b", b"c"] if auto_ack else [b"c"])
    scene.consumer.settle()
    assert (zero.acked, one.acked) == ([], [] if auto_ack else [1])


@pytest.mark.parametrize("auto_ack", [False, True])
def test_what_waits_is_dropped_with_the_connection(
    monkeypatch: pytest.MonkeyPatch, auto_ack: bool
) -> None:
    """Likewise; all queues are subscribed to on the next connection, once."""
    scene = _Scene(monkeypatch, auto_ack=auto_ack)
    scene.channels[0].deliver(b"a")
    scene.reconnect()
    assert [channel.queue for channel in scene.channels] == ["chaos.0", "chaos.1"]
    if auto_ack:
        assert scene.receive().bodies == [b"a"]
    assert scene.nothing()
    scene.now_s += 10
    assert scene.nothing()
    assert len(scene.channels) == 2


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_queue_that_closes_its_channel_is_subscribed_to_again(
    monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """After a rest, again and again, and nobody waits longer than for that; what the other queue
    sends goes on. One that is gone cancels its consumer first."""
    scene = _Scene(monkeypatch)
    for count in (3, 4):
        channel = [each for each in scene.channels if each.queue == "chaos.0"][-1]
        if cancelled:
            channel.cancelled(None)
            assert not channel.is_open
            channel.cancelled(None)
        else:
            channel.close()
        scene.consumer.receive(1, 0.4)
        assert len(scene.channels) == count - 1
        scene.consumer.receive(1, 60)
        assert scene.turns[-1] == 0.5
        scene.channels[1].deliver(b"b")
        assert scene.receive().bodies == [b"b"]
        assert [each.queue for each in scene.channels[2:]] == ["chaos.0"] * (count - 2)
    scene.channels[-1].deliver(b"a", again=True)
    assert scene.receive().partitions == [0]
    scene.consumer.receive(1, 60)
    assert scene.turns[-1] == 60


@pytest.mark.parametrize("whole", [False, True])
def test_a_stream_goes_on_behind_what_was_handed_over(
    monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """On a new channel as on a new connection, in each stream at its own place: the broker does
    not know it. What begins before that, as a chunk may, is left out."""
    scene = _Scene(monkeypatch, Kind.STREAM)
    zero, one = scene.channels
    assert zero.begins == one.begins == {"x-stream-offset": "first"}
    zero.deliver(b"a", b"b", b"c", offset=40)
    assert scene.receive(2).offsets == [40, 41]
    if whole:
        scene.reconnect()
        zero, one = scene.channels
    else:
        zero.close()
        scene.now_s += 0.5
        assert scene.nothing()
        zero = scene.channels[-1]
    assert zero.begins == {"x-stream-offset": 42}
    assert one.begins == {"x-stream-offset": "first"}
    zero.deliver(b"b", b"c", b"d", offset=41)
    found = scene.receive()
    assert (found.bodies, found.offsets) == ([b"c", b"d"], [42, 43])


def test_a_queue_is_asked_for_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """On each of its channels; it has no offset to begin at."""
    scene = _Scene(monkeypatch, auto_ack=True, prefetch=7)
    assert [channel.queue for channel in scene.channels] == ["chaos.0", "chaos.1"]
    assert {(each.prefetch, each.auto_ack) for each in scene.channels} == {(7, True)}
    assert all(each.begins == {} for each in scene.channels)


def test_settled_durably_is_what_every_channel_has_answered_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not only one of them; a channel that is gone answers no more, and is not waited for."""
    scene = _Scene(monkeypatch)
    zero, one = scene.channels
    zero.deliver(b"a", b"b")
    one.deliver(b"c")
    scene.receive()
    steps = iter([lambda: zero.answer(None), lambda: None, one.close])
    scene.happens = lambda: next(steps)()
    scene.consumer.settle_durably()
    assert (zero.acked, one.acked) == ([2], [1])
    assert list(steps) == []
    assert zero.prefetch == Consuming().prefetch


def test_a_channel_that_does_not_answer_has_settled_nothing_durably(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which is an error, in time."""
    scene = _Scene(monkeypatch)
    scene.channels[0].deliver(b"a")
    scene.receive()
    with pytest.raises(ClusterError, match="no answer within 5 s"):
        scene.consumer.settle_durably()
    assert scene.now_s < 106


@pytest.mark.parametrize("settled", [False, True])
def test_who_closes_settles_and_who_is_abandoned_does_not(
    monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    """What was not handed over goes back either way."""
    scene = _Scene(monkeypatch)
    scene.channels[0].deliver(b"a", b"b")
    scene.receive(1)
    (scene.consumer.close if settled else scene.consumer.abandon)()
    assert scene.channels[0].acked == ([1] if settled else [])
    assert scene.closed
