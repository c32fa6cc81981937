"""What queues hold at the end, read without taking it away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries, PartitionEnd
from chaos_adapters.brokers.rabbitmq.admin import counts
from chaos_adapters.brokers.rabbitmq.api import Api
from chaos_adapters.brokers.rabbitmq.consumer import RabbitConsumer
from chaos_adapters.brokers.rabbitmq.settings import Consuming
from chaos_adapters.brokers.rabbitmq.stream import Queues
from chaos_adapters.brokers.rabbitmq.tales import gone, held

_MOST = 65_535
"""The highest prefetch. None at all is 2,000 to a quorum queue (rabbit_quorum_queue: consume)."""
_QUIET_S = 5.0
_UNSERVED_S = 20.0
"""A queue that lets nobody subscribe for so long is given up."""
_ASK_S = 5.0


@dataclass
class _Reading:
    """How far a queue was read on a channel, and when there was news of it last."""

    news_s: float
    channel: object | None = None
    read: int = 0
    asked: int = _MOST
    """How many messages may come before there have to be asked for more."""

    def over(self, now_s: float) -> bool:
        """Nothing comes any more, or nobody serves it."""
        return now_s > self.news_s + (_QUIET_S if self.channel else _UNSERVED_S)


def read_back(
    clients: Mapping[str, Address], stream: Queues, timeout_s: float
) -> Iterator[Deliveries | PartitionEnd]:
    """All that the queues hold, which goes back into them; then one PartitionEnd for each. Where
    nobody knows how much there is, its `end` is beyond what was read. Raises ClusterError.

    How much a queue holds is told late (a stream of 3.10: 47,133 of 49,112, seconds after the last
    one came), or as 0 by whoever does not reach its leader in time (rabbit_quorum_queue: stat), and
    what was sent to consumers comes back when it likes. So a queue is read until nothing came for a
    while on a channel that it serves; what it says to hold then, it must hold to count as read.
    """
    deadline = time.monotonic() + timeout_s
    # A stream wants a limit, and credit for more.
    settings = Consuming() if stream.keeps else Consuming(prefetch=_MOST)
    reader = RabbitConsumer(clients, stream.names, settings, stream.consumed, whole=False)
    queues = [_Reading(time.monotonic()) for _ in stream.names]
    try:
        while time.monotonic() < deadline:
            found = reader.receive(1000, 0.2)
            _look(reader, queues, stream)
            if found:
                yield found
                _count(reader, queues, found, stream)
            elif all(queue.over(time.monotonic()) for queue in queues):
                break
        now_s, holding = time.monotonic(), _holding(clients, stream)
    finally:
        reader.abandon()
    missing = frozenset() if all(q.channel for q in queues) else _gone(clients, stream)
    for number, queue in enumerate(queues):
        known = number in missing or (number in holding and queue.channel and queue.over(now_s))
        end = max(holding.get(number, 0), queue.read if known else queue.read + 1)
        yield PartitionEnd(number, 0, end, queue.read)


def _look(reader: RabbitConsumer, queues: list[_Reading], stream: Queues) -> None:
    """Begin anew where a queue has another channel: it sends all again. Streams go on."""
    for number, queue in enumerate(queues):
        channel = reader.channel(number)
        if channel is not queue.channel:
            queue.channel, queue.news_s = channel, time.monotonic()
            if not stream.keeps:
                queue.read, queue.asked = 0, _MOST


def _count(
    reader: RabbitConsumer, queues: list[_Reading], found: Deliveries, stream: Queues
) -> None:
    for number, count in Counter(found.partitions).items():
        queue = queues[number]
        queue.read, queue.news_s = queue.read + count, time.monotonic()
        if queue.read >= queue.asked and not stream.keeps:
            queue.asked += _MOST
            reader.more(number)
    if stream.keeps:
        reader.settle()


def _holding(clients: Mapping[str, Address], stream: Queues) -> Mapping[int, int]:
    """How much each queue holds, by number: the most that a node says."""
    if stream.keeps:
        return counts(clients, stream.names)
    found: dict[int, int] = {}
    for node, address in clients.items():
        with closing(Api(node, address)) as api, suppress(ClusterError):
            for number, count in held(api, stream, _ASK_S).items():
                found[number] = max(count, found.get(number, 0))
    return found


def _gone(clients: Mapping[str, Address], stream: Queues) -> frozenset[int]:
    """The queues that are no more, say all nodes."""
    found = frozenset(range(stream.queues))
    for node, address in clients.items():
        with closing(Api(node, address)) as api:
            try:
                found &= gone(api, stream, _ASK_S)
            except ClusterError:
                return frozenset()
    return found
