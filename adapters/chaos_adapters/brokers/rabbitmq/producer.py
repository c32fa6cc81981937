"""The producer: many unconfirmed messages at a time, each with its own fate.

    handed over ──> open ──ack──────────────> acknowledged
                     │ └──return, then ack──> refused: no queue took it
                     ├──nack────────────────> unknown: the queue could not take charge of it
                     └──channel, connection
                        closed, lost, left──> unknown

Source: "Consumer Acknowledgements and Publisher Confirms", section "Publisher Confirms".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from chaos.spi import NUMBER_AT, Address, Outcome, SendSink
from chaos.timing import now_ns
from chaos_adapters.brokers.rabbitmq.line import Line
from chaos_adapters.brokers.rabbitmq.publications import Publications
from chaos_adapters.brokers.rabbitmq.settings import Publishing

_CONNECT_S = 20.0
_MOST_UNWRITTEN = 4 << 20
"""Who waits for no confirmation is held back by bytes that do not leave."""


class RabbitProducer:
    """spi.Producer on one channel. A message is put into the queue of its key's partition."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        queues: Sequence[str],
        settings: Publishing,
        sink: SendSink,
    ) -> None:
        self._queues, self._settings, self._sink = queues, settings, sink
        self._properties = pika.BasicProperties(delivery_mode=2 if settings.persistent else 1)
        self._channel: Channel | None = None
        """Which messages go out on; None while there is none."""
        self._heard: Channel | None = None
        """Whose confirmations count: that one, or the last one while it is being closed."""
        self._publications: Publications | None = None
        self._open: dict[int, tuple[int, int]] = {}
        """Sequence and partition of each message that waits for its confirmation, by its tag."""
        self._tag = self._lowest = 0
        self._returned: dict[int, str] = {}
        self._acked: tuple[list[int], list[int]] = [], []
        self._partitions: dict[bytes, int] = {}
        self._refused: dict[int, tuple[float, int]] = {}
        """By partition: when the channel got the first refusal after which nothing of it was
        confirmed, and how many there were."""
        self._renewed: str | None = None
        self._left: str | None = None
        self._waiting_since_s = 0.0
        """Since when messages wait and nothing was confirmed, while the broker did not block."""
        self._line = Line(clients, settings, self._opened, self._lost)
        self._line.connect(_CONNECT_S, lambda: self._channel is not None)

    def told(self) -> Mapping[str, str | None]:
        """See spi.TellsItself."""
        node, blocked = self._line.node, self._line.blocked or None
        why = {"channel": self._renewed, "left": self._left}
        return {"node": node, "blocked": blocked, **why}

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """As many as the window has room for."""
        publications = self._publications
        if not (self._channel and publications) or self._line.unwritten > _MOST_UNWRITTEN:
            return 0
        if not self._open:
            self._waiting_since_s = time.monotonic()
        room = self._settings.window - len(self._open)
        numbers = range(first, first + min(room, len(bodies)))
        frames = []
        for sequence, key, body in zip(numbers, keys, bodies, strict=False):
            partition = self._partition(key, sequence)
            self._tag += 1
            self._open[self._tag] = sequence, partition
            frames += publications.frames(partition, body)
        self._line.write(frames)
        if not self._settings.confirms:
            self._confirm(self._tag, multiple=True)
        return max(0, len(numbers))

    def _partition(self, key: bytes | None, sequence: int) -> int:
        if key is None:
            return sequence % len(self._queues)
        if key not in self._partitions:
            self._partitions[key] = crc32(key) % len(self._queues)
        return self._partitions[key]

    def poll(self, timeout_s: float) -> None:
        """Confirmations come in here."""
        self._line.turn(timeout_s)
        self._leave_who_is_silent()
        self._tell()

    def close(self, timeout_s: float) -> None:
        """Wait for what is open, then close."""
        deadline = time.monotonic() + timeout_s
        while self._open and time.monotonic() < deadline:
            self.poll(0.05)
        self._line.close()
        self._tell()

    def _opened(self, connection: SelectConnection) -> None:
        def opened(channel: Channel) -> None:
            self._heard = channel
            channel.add_on_return_callback(self._on_return)
            channel.add_on_close_callback(self._on_channel_closed)
            if self._settings.confirms:
                channel.confirm_delivery(
                    lambda frame: self._on_confirmation(channel, frame),
                    lambda _: self._use(channel),
                )
            else:
                self._use(channel)

        connection.channel(on_open_callback=opened)

    def _use(self, channel: Channel) -> None:
        self._channel, self._tag, self._lowest = channel, 0, 0
        self._publications = Publications(
            channel, self._queues, self._properties, self._settings.mandatory
        )
        self._refused.clear()

    def _on_channel_closed(self, channel: Channel, reason: Exception) -> None:
        connection, in_use = channel.connection, channel is self._channel
        if connection.is_closed or channel is not self._heard:
            return
        self._forget(f"channel closed: {reason}")
        self._channel = None
        if connection.is_closing:
            return
        if in_use:
            # Nothing that a sound experiment does closes a channel alone.
            connection.close()
        else:
            self._opened(connection)

    def _lost(self, how: str = "lost") -> None:
        self._channel = self._heard = None
        self._forget(f"connection {how}")

    def _leave_who_is_silent(self) -> None:
        """A node may take messages and confirm none, as it waits for a dead one with each of them
        and refuses it after that. Another connection asks again who leads a queue."""
        now_s, limit_s = time.monotonic(), self._settings.new_connection_after
        if self._line.blocked:
            self._waiting_since_s = now_s
        silent_s = now_s - self._waiting_since_s
        if limit_s and self._open and silent_s >= limit_s:
            waiting = f"{len(self._open):,} waited"
            self._left = f"{self._line.node} confirmed nothing for {silent_s:.1f} s, {waiting}"
            self._lost("left")
            self._line.leave()

    def _forget(self, why: str) -> None:
        for sequence, partition in self._open.values():
            self._sink.failed(sequence, partition, now_ns(), Outcome.INDETERMINATE, why)
        self._open.clear()
        self._returned.clear()

    def _on_return(self, _: Channel, method: Any, __: object, body: bytes) -> None:  # noqa: ANN401
        sequence = int.from_bytes(body[NUMBER_AT : NUMBER_AT + 8], "little", signed=True)
        self._returned[sequence] = f"returned: {method.reply_text}"

    def _on_confirmation(self, channel: Channel, frame: Any) -> None:  # noqa: ANN401 - pika's frame
        if channel is not self._heard:
            return
        method = frame.method
        if isinstance(method, pika.spec.Basic.Ack):
            self._confirm(method.delivery_tag, method.multiple)
        else:
            for sequence, partition in self._settled(method.delivery_tag, method.multiple):
                self._sink.failed(sequence, partition, now_ns(), Outcome.INDETERMINATE, "nacked")
                self._count_refusal(partition)

    def _count_refusal(self, partition: int) -> None:
        """The channel goes when there were nothing but refusals for too long: a new one asks again
        who leads the queue. What is open on the old one is of unknown fate."""
        now_s, limit_s = time.monotonic(), self._settings.new_channel_after
        since_s, count = self._refused.get(partition, (now_s, 0))
        self._refused[partition] = since_s, count + 1
        if self._channel and limit_s and now_s - since_s >= limit_s:
            what = f"{self._queues[partition]} refused all {count + 1} messages"
            self._renewed = f"{what} for {now_s - since_s:.1f} s"
            self._channel.close()
            self._channel = None

    def _confirm(self, tag: int, multiple: bool) -> None:
        self._waiting_since_s = time.monotonic()
        sequences, partitions = self._acked
        for sequence, partition in self._settled(tag, multiple):
            if self._returned and (why := self._returned.pop(sequence, "")):
                self._sink.failed(sequence, partition, now_ns(), Outcome.REFUSED, why)
            else:
                sequences.append(sequence)
                partitions.append(partition)
            self._refused.pop(partition, None)

    def _settled(self, tag: int, multiple: bool) -> list[tuple[int, int]]:
        """What a confirmation is about, no longer open."""
        if not multiple:
            return [self._open.pop(tag)] if tag in self._open else []
        tags = [each for each in range(self._lowest + 1, tag + 1) if each in self._open]
        self._lowest = max(self._lowest, tag)
        return [self._open.pop(each) for each in tags]

    def _tell(self) -> None:
        """All that a turn brought is dated at its end: never too early."""
        sequences, partitions = self._acked
        if sequences:
            offsets = [-1] * len(sequences)
            self._sink.acknowledged(sequences, partitions, offsets, now_ns())
            self._acked = [], []
