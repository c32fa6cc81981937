"""What is read back of RabbitMQ's queues and streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.spi import Deliveries, PartitionEnd
from chaos_adapters.brokers.rabbitmq import consumer
from chaos_adapters.brokers.rabbitmq.consumer import read_back
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues


class _Reader:
    """Gets 100 messages of partition 0 at a time, and then none."""

    def __init__(self, there: int) -> None:
        self.left, self.now_s, self.settled = there, 100.0, 0

    def monotonic(self) -> float:
        return self.now_s

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        assert most >= 100
        count = min(100, self.left)
        self.left -= count
        self.now_s += 0.001 if count else timeout_s
        return Deliveries([b""] * count, [0] * count, [-1] * count, 0) if count else None

    def settle(self) -> None:
        self.settled += 1

    def abandon(self) -> None: ...


def _read(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, there: int, told: int
) -> tuple[int, PartitionEnd, float]:
    """How many came, how it ended, and after how long."""
    reader, queues = _Reader(there), Queues(kind=kind, queues=1)
    monkeypatch.setattr(consumer, "time", reader)
    monkeypatch.setattr(consumer, "RabbitConsumer", lambda *_: reader)
    found: Iterator[Deliveries | PartitionEnd]
    found = read_back({}, queues.names, {0: told}, queues.consumed, 60.0)
    *came, end = list(found)
    assert isinstance(end, PartitionEnd)
    took_s = reader.now_s - 100
    return sum(len(each.bodies) for each in came if isinstance(each, Deliveries)), end, took_s


def test_a_stream_is_read_beyond_what_the_broker_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes tell it late; what was stored since is no less stored."""
    assert _read(monkeypatch, Kind.STREAM, there=500, told=300)[:2] == (
        500, PartitionEnd(0, 0, 500, 500),
    )  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.QUORUM, Kind.STREAM])
def test_what_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Less was read than there is: nobody can say that the rest is lost."""
    came, end, _ = _read(monkeypatch, kind, there=300, told=500)
    assert (came, end) == (300, PartitionEnd(0, 0, 500, 300))


def test_a_queue_is_read_as_soon_as_all_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to wait for."""
    came, end, took_s = _read(monkeypatch, Kind.QUORUM, there=500, told=500)
    assert (came, end) == (500, PartitionEnd(0, 0, 500, 500))
    assert took_s < 1
