"""When a producer of RabbitMQ gives up a channel or a connection, and what becomes of what is open
on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pika import ConnectionParameters
from pika.spec import Basic

from chaos.spi import NUMBER_AT, Outcome
from chaos_adapters.brokers.rabbitmq import Rabbitmq, producer
from chaos_adapters.brokers.rabbitmq.producer import RabbitProducer
from chaos_adapters.brokers.rabbitmq.settings import Publishing
from chaos_adapters.brokers.rabbitmq.stream import Queues


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class _Connection:
    """Which opens each channel at once."""

    is_closed = is_closing = False
    params = ConnectionParameters()

    def __init__(self) -> None:
        self.channels: list[_Channel] = []

    def channel(self, on_open_callback: Any) -> None:
        self.channels.append(_Channel(self))
        on_open_callback(self.channels[-1])

    def close(self) -> None:
        self.is_closing = True


class _Channel:
    channel_number = 1

    def __init__(self, connection: _Connection) -> None:
        self.connection, self.closing = connection, False

    def add_on_return_callback(self, told: Any) -> None:
        self.returned = told

    def add_on_close_callback(self, told: Any) -> None:
        self.closed = told

    def confirm_delivery(self, told: Any, ready: Any) -> None:
        self.told = told
        ready(None)

    def close(self) -> None:
        self.closing = True


class _Sink:
    def __init__(self) -> None:
        self.acked: list[int] = []
        self.failures: list[tuple[int, Outcome, str]] = []

    def acknowledged(self, sequences: Any, _: Any, __: Any, ___: int) -> None:
        self.acked += sequences

    def failed(self, sequence: int, _: int, __: int, outcome: Outcome, reason: str) -> None:
        self.failures.append((sequence, outcome, reason))


class _Scene:
    """A producer of two queues on a connection, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit_s: float, **settings: Any) -> None:
        self.clock, self.connection, self.sink = _Clock(), _Connection(), _Sink()
        monkeypatch.setattr(producer, "time", self.clock)
        self.line = line = SimpleNamespace(node="rabbitmq-2", blocked="", unwritten=0, left=0)
        line.connect = line.turn = line.write = lambda *_: None
        line.leave = lambda: setattr(line, "left", line.left + 1)
        monkeypatch.setattr(producer, "Line", lambda *_: line)
        publishing = Publishing(new_channel_after=limit_s, **settings)
        self.producer = RabbitProducer({}, Queues(queues=2).names, publishing, self.sink)
        self.producer._opened(self.connection)  # type: ignore[arg-type]

    def send(self, first: int, count: int) -> int:
        """Messages of even numbers go to queue 0, the others to queue 1."""
        return self.producer.send(first, [None] * count, [b""] * count)

    def told(self, *methods: Basic.Ack | Basic.Nack, channel: int = -1) -> None:
        for method in methods:
            self.connection.channels[channel].told(SimpleNamespace(method=method))
        self.producer.poll(0.0)

    @property
    def closing(self) -> list[bool]:
        return [channel.closing for channel in self.connection.channels]


def nack(tag: int) -> Basic.Nack:
    return Basic.Nack(tag)


def test_a_queue_that_only_refuses_costs_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many seconds, though the other queue confirms; not before. What is open then is of
    unknown fate, nothing is sent until there is another channel, and the client tells it."""
    scene = _Scene(monkeypatch, limit_s=5)
    scene.send(0, 6)
    scene.told(nack(1), Basic.Ack(2))
    scene.clock.now_s += 4.9
    scene.told(nack(3), Basic.Ack(4))
    assert scene.closing == [False]
    assert scene.producer.told()["channel"] is None
    scene.clock.now_s += 0.1
    scene.told(nack(5))
    assert scene.closing == [True]
    assert scene.send(6, 2) == 0
    assert scene.producer.told()["channel"] == "chaos.0 refused all 3 messages for 5.0 s"
    (old,) = scene.connection.channels
    old.closed(old, "normal shutdown")
    assert scene.sink.failures[-1] == (5, Outcome.INDETERMINATE, "channel closed: normal shutdown")
    assert scene.send(6, 2) == 2
    scene.told(Basic.Ack(2, multiple=True))
    assert scene.sink.acked == [1, 3, 6, 7]
    assert scene.closing == [True, False]
    assert not scene.connection.is_closing


@pytest.mark.parametrize("between", [[Basic.Ack(3)], []])
def test_a_queue_that_confirms_or_a_setting_that_is_off_keeps_the_channel(
    monkeypatch: pytest.MonkeyPatch, between: list[Basic.Ack]
) -> None:
    """One confirmation of the queue starts the time anew; without the setting nothing ends it."""
    scene = _Scene(monkeypatch, limit_s=5 if between else 0)
    scene.send(0, 9)
    scene.told(nack(1))
    scene.clock.now_s += 4
    scene.told(*between, nack(5))
    scene.clock.now_s += 4
    scene.told(nack(7))
    assert scene.closing == [False]


def test_a_channel_that_the_broker_closes_costs_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As nothing that a sound experiment does closes a channel alone."""
    scene = _Scene(monkeypatch, limit_s=5)
    (channel,) = scene.connection.channels
    channel.closed(channel, "precondition failed")
    assert scene.connection.is_closing
    assert scene.closing == [False]


def test_a_node_that_confirms_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many seconds, not before, and refusals are no confirmations. What is open then is of
    unknown fate, whatever the node says later; on the next connection all goes on."""
    scene = _Scene(monkeypatch, limit_s=0, new_connection_after=5)
    scene.clock.now_s += 60
    scene.send(0, 2)
    scene.clock.now_s += 2
    scene.told(Basic.Ack(1))
    scene.clock.now_s += 4.9
    scene.send(2, 1)
    scene.told(nack(2))
    assert (scene.line.left, scene.producer.told()["left"]) == (0, None)
    scene.clock.now_s += 0.1
    scene.told()
    assert scene.line.left == 1
    told = "rabbitmq-2 confirmed nothing for 5.0 s, 1 waited"
    assert scene.producer.told()["left"] == told
    unknown = Outcome.INDETERMINATE
    assert scene.sink.failures == [(1, unknown, "nacked"), (2, unknown, "connection left")]
    assert scene.send(3, 1) == 0
    scene.producer._opened(_Connection())  # type: ignore[arg-type]
    assert scene.send(3, 2) == 2
    scene.told(Basic.Ack(2, multiple=True))
    (old,) = scene.connection.channels
    old.closed(old, "normal shutdown")
    assert scene.sink.acked == [0]
    assert scene.send(5, 1) == 1
    assert (len(scene.sink.failures), scene.line.left) == (2, 1)


@pytest.mark.parametrize("why", ["blocked", "confirmed", "nothing waits", "off"])
def test_a_node_that_has_a_reason_or_a_setting_that_is_off_keeps_the_connection(
    monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A blocked producer waits; each confirmation starts the time anew."""
    scene = _Scene(monkeypatch, limit_s=0, new_connection_after=0 if why == "off" else 5)
    scene.send(0, 9)
    for second in range(1, 10):
        scene.clock.now_s += 1
        scene.line.blocked = "low on disk" if why == "blocked" and second < 6 else ""
        if why == "confirmed" and second in (3, 6):
            scene.told(Basic.Ack(second))
        scene.told(*[Basic.Ack(9, multiple=True)] * (why == "nothing waits"))
    assert scene.line.left == 0


@pytest.mark.parametrize("multiple", [False, True])
def test_a_message_that_no_queue_takes_is_refused_and_no_other_one(
    monkeypatch: pytest.MonkeyPatch, multiple: bool
) -> None:
    """It comes back, with its number in its body, and is confirmed after that; those before and
    after it are stored."""
    scene = _Scene(monkeypatch, limit_s=0)
    scene.send(40, 3)
    (channel,) = scene.connection.channels
    body = bytes(NUMBER_AT) + (41).to_bytes(8, "little", signed=True) + b"more"
    channel.returned(channel, SimpleNamespace(reply_text="NO_ROUTE"), None, body)
    assert scene.sink.failures == []
    if not multiple:
        scene.told(Basic.Ack(3))
        assert (scene.sink.failures, scene.sink.acked) == ([], [42])
    scene.told(Basic.Ack(3 if multiple else 2, multiple=True))
    assert scene.sink.failures == [(41, Outcome.REFUSED, "returned: NO_ROUTE")]
    assert sorted(scene.sink.acked) == [40, 42]


@pytest.mark.parametrize("multiple", [False, True])
def test_what_a_queue_could_not_take_charge_of_is_of_unknown_fate(
    monkeypatch: pytest.MonkeyPatch, multiple: bool
) -> None:
    """Some of its copies may have it; what is still open is not told of yet."""
    scene = _Scene(monkeypatch, limit_s=0)
    scene.send(40, 3)
    scene.told(Basic.Nack(2, multiple=multiple))
    nacked = [40, 41] if multiple else [41]
    unknown = Outcome.INDETERMINATE
    assert scene.sink.failures == [(number, unknown, "nacked") for number in nacked]
    assert scene.sink.acked == []
    scene.told(Basic.Ack(3, multiple=True))
    assert scene.sink.acked == ([42] if multiple else [40, 42])


def test_a_time_is_no_word() -> None:
    """The setting is checked as the others are."""
    (problem,) = Rabbitmq().client_problems({"new_channel_after": "soon"}, {})
    assert problem == ("load.producers.settings.new_channel_after", "should be a number")
