"""The consumer: a channel for each queue, as a queue that is gone closes the channel that asks it.

Delivery tags count on one channel, so what is to be settled is kept by channel; a channel that is
gone has nothing left to settle: the broker gives its messages to somebody else, and says so
(`redelivered`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries
from chaos.timing import now_ns
from chaos_adapters.brokers.rabbitmq.line import Line
from chaos_adapters.brokers.rabbitmq.settings import Consuming

_CONNECT_S = 20.0
_SUBSCRIBE_AGAIN_S = 0.5
_QUIET_S = 5.0
_OFFSET = "x-stream-offset"


class _Message(NamedTuple):
    channel: Channel
    partition: int
    tag: int
    redelivered: bool
    offset: int
    body: bytes


class RabbitConsumer:
    """spi.Consumer of all queues."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        queues: Sequence[str],
        settings: Consuming,
        arguments: Mapping[str, object],
        whole: bool = True,
    ) -> None:
        """`arguments` are those of the subscription. It begins with all queues, unless `whole` is
        False: then with those that there are. Raises ClusterError."""
        self._queues, self._settings, self._arguments = queues, settings, dict(arguments)
        self._streaming = _OFFSET in self._arguments
        self._channels: dict[int, Channel] = {}
        """The channels that a queue sends on, by partition."""
        self._tags: dict[int, str] = {}
        """What the subscriptions to them are called there."""
        self._ask_again_s = dict.fromkeys(range(len(queues)), 0.0)
        """When to subscribe to those that nobody has answered for."""
        self._connection: SelectConnection | None = None
        self._next_offset: dict[int, int] = {}
        self._waiting: deque[_Message] = deque()
        self._handed_over: dict[Channel, list[int]] = {}
        """The tags that are to be settled, in the order of the channel."""
        self._last: list[_Message] = []
        self._line = Line(clients, settings, self._opened, self._lost)
        self._line.connect(
            _CONNECT_S,
            lambda: len(self._channels) == len(queues) if whole else bool(self._connection),
        )

    def told(self) -> Mapping[str, str | None]:
        """See spi.TellsItself."""
        return {"node": self._line.node}

    def channel(self, partition: int) -> object | None:
        """What a queue sends on now: another one has all of it again that is not settled."""
        return self._channels.get(partition)

    def more(self, partition: int) -> None:
        """Subscribe anew on the same channel, which keeps what came: one subscription gets no more
        than `prefetch` messages that are not settled."""
        channel = self._channels[partition]
        if channel.is_open:
            channel.basic_cancel(self._tags[partition])
            self._consume(channel, partition)

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """What is there, or comes first."""
        self._turn(0.0 if self._waiting else timeout_s)
        found = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._last = found
        if not found:
            return None
        for message in found:
            self._handed_over.setdefault(message.channel, []).append(message.tag)
            self._next_offset[message.partition] = message.offset + 1
        return Deliveries(
            [each.body for each in found], [each.partition for each in found],
            [each.offset for each in found], now_ns(), [each.redelivered for each in found],
        )  # fmt: skip

    def settle(self) -> None:
        """Acknowledge all that was handed over; it leaves with the next turn."""
        handed_over, self._handed_over = self._handed_over, {}
        if self._settings.auto_ack:
            return
        for channel, tags in handed_over.items():
            if tags and channel.is_open:
                channel.basic_ack(tags[-1], multiple=True)

    def hand_back(self, index: int) -> None:
        """See spi.HandsBack. A message whose channel is gone went back with it."""
        message = self._last[index]
        tags = self._handed_over.get(message.channel, [])
        if message.tag in tags and message.channel.is_open and not self._settings.auto_ack:
            tags.remove(message.tag)
            message.channel.basic_nack(message.tag, multiple=False, requeue=True)

    def settle_durably(self) -> None:
        """Acknowledge, and wait for the answer to something else on each channel: the broker does
        what a channel asks for in turn. A channel that is gone has lost what it settled."""
        channels = [channel for channel in self._handed_over if channel.is_open]
        self.settle()
        waiting = set(channels)
        for channel in channels:
            channel.basic_qos(
                prefetch_count=self._settings.prefetch,
                callback=lambda _, channel=channel: waiting.discard(channel),
            )
        deadline = time.monotonic() + _QUIET_S
        while any(channel.is_open for channel in waiting):
            self._turn(0.05)
            if time.monotonic() > deadline:
                raise ClusterError(f"RabbitMQ: no answer within {_QUIET_S:g} s")

    def close(self) -> None:
        """Settle and leave; what was received and not handed over goes back."""
        self.settle()
        self._line.close()

    def abandon(self) -> None:
        """Leave; everything that was received goes back."""
        self._line.close()

    def _turn(self, timeout_s: float) -> None:
        now = time.monotonic()
        for partition, due_s in list(self._ask_again_s.items()):
            if self._connection and now >= due_s:
                del self._ask_again_s[partition]
                self._subscribe(self._connection, partition)
        self._line.turn(min(timeout_s, _SUBSCRIBE_AGAIN_S) if self._ask_again_s else timeout_s)

    def _opened(self, connection: SelectConnection) -> None:
        self._connection = connection
        self._ask_again_s.clear()
        for partition in range(len(self._queues)):
            self._subscribe(connection, partition)

    def _subscribe(self, connection: SelectConnection, partition: int) -> None:
        """Open a channel and consume; whatever goes wrong closes the channel, and it is tried
        again."""

        def opened(channel: Channel) -> None:
            channel.add_on_close_callback(lambda gone, _: self._gone(gone, partition))
            channel.add_on_cancel_callback(lambda _: channel.close() if channel.is_open else None)
            channel.basic_qos(prefetch_count=self._settings.prefetch)
            self._consume(channel, partition)

        connection.channel(on_open_callback=opened)

    def _consume(self, channel: Channel, partition: int) -> None:
        self._tags[partition] = channel.basic_consume(
            self._queues[partition],
            lambda _, method, properties, body: self._take(
                channel, partition, method, properties, body
            ),
            auto_ack=self._settings.auto_ack, arguments=self._from(partition),
            callback=lambda _: self._channels.__setitem__(partition, channel),
        )  # fmt: skip

    def _from(self, partition: int) -> dict[str, object]:
        """A stream forgets where a consumer was: that is the consumer's business."""
        if self._streaming and partition in self._next_offset:
            return {**self._arguments, _OFFSET: self._next_offset[partition]}
        return self._arguments

    def _take(
        self,
        channel: Channel,
        partition: int,
        method: Any,  # noqa: ANN401 - pika's
        properties: Any,  # noqa: ANN401
        body: bytes,
    ) -> None:
        offset = (properties.headers or {}).get(_OFFSET, -1) if self._streaming else -1
        if self._streaming and offset < self._next_offset.get(partition, 0):
            return  # streams are sent by chunks, which may begin before what was asked for
        tag, again = method.delivery_tag, method.redelivered
        self._waiting.append(_Message(channel, partition, tag, again, offset, body))

    def _gone(self, channel: Channel, partition: int) -> None:
        if self._channels.get(partition) is channel:
            del self._channels[partition]
        self._handed_over.pop(channel, None)
        if not self._settings.auto_ack:  # else what is here counts as delivered: nobody gets it
            self._waiting = deque(each for each in self._waiting if each.channel is not channel)
        self._ask_again_s[partition] = time.monotonic() + _SUBSCRIBE_AGAIN_S

    def _lost(self) -> None:
        self._connection = None
        self._channels.clear()
        self._handed_over.clear()
        self._ask_again_s.clear()
        if not self._settings.auto_ack:
            self._waiting.clear()
