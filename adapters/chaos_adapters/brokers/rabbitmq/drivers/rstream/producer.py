"""The producer: many unconfirmed messages at a time, each with its own fate.

    handed over ──> waiting ──leader there──> open ──confirmed──────> acknowledged
                       ^                       │ ├──error code──────> refused: it was not written
                       │                       │ └─ (sent again) ───> unknown: the first time, maybe
                       └──(send_again) lost ───┴──connection lost───> unknown

A message has the number of its sequence. Sources: RabbitMQ, "RabbitMQ Stream Protocol Reference",
sections on Publish, PublishConfirm, PublishError; rabbit_stream_reader.erl, which answers with an
error code to what it gives to no leader.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from zlib import crc32

from rstream import schema
from rstream.amqp import AMQPMessage
from rstream.exceptions import PublisherDoesNotExist, ServerError

from chaos.spi import Address, Outcome, SendSink
from chaos.timing import now_ns
from chaos_adapters.brokers.rabbitmq.drivers.rstream.connection import ID, Connection
from chaos_adapters.brokers.rabbitmq.drivers.rstream.lane import Lane, connect, leave, nodes
from chaos_adapters.brokers.rabbitmq.drivers.rstream.settings import Publishing
from chaos_adapters.brokers.rabbitmq.drivers.rstream.turns import Turns

_FRAME_BYTES = 1 << 18
"""A node wants frames of less than 1 MiB."""


class StreamProducer:
    """spi.Producer. A message is put into the stream of its key's partition."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        streams: Sequence[str],
        settings: Publishing,
        sink: SendSink,
    ) -> None:
        """Raises ClusterError."""
        self._streams, self._settings, self._sink = streams, settings, sink
        self._name = f"mqchaos-{secrets.token_hex(8)}" if settings.deduplicate else None
        self._partitions: dict[bytes, int] = {}
        self._waiting: list[deque[schema.Message]] = [deque() for _ in streams]
        self._open: list[dict[int, schema.Message]] = [{} for _ in streams]
        """What waits for its confirmation, by its number, in the order of the stream."""
        self._unsure: list[set[int]] = [set() for _ in streams]
        """Numbers of those that were open before on a connection that was lost: whatever becomes of
        them now, they may be stored."""
        self._heard: deque[tuple[int, Connection, schema.Frame]] = deque()
        self._acked: tuple[list[int], list[int]] = [], []
        self._turns = Turns()
        self._lanes = [
            Lane(clients, name, settings, partial(self._use, partition),
                 partial(self._lost, partition), leader=True)
            for partition, name in enumerate(streams)
        ]  # fmt: skip
        connect(self._turns, self._lanes)

    def told(self) -> Mapping[str, str | None]:
        """See spi.TellsItself."""
        return {"node": nodes(self._lanes)}

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """As many as the window has room for; they leave with the next turn."""
        taken = min(len(bodies), max(0, self._settings.window - self._unconfirmed))
        for sequence in range(first, first + taken):
            key, body = keys[sequence - first], bodies[sequence - first]
            message = schema.Message(sequence, None, bytes(AMQPMessage(body=body)))
            self._waiting[self._partition(key, sequence)].append(message)
        return taken

    @property
    def _unconfirmed(self) -> int:
        return sum(map(len, self._waiting)) + sum(map(len, self._open))

    def _partition(self, key: bytes | None, sequence: int) -> int:
        if key is None:
            return sequence % len(self._streams)
        if key not in self._partitions:
            self._partitions[key] = crc32(key) % len(self._streams)
        return self._partitions[key]

    def poll(self, timeout_s: float) -> None:
        """Messages leave and confirmations come in here."""
        self._publish()
        self._turns.turn(timeout_s)
        self._tell()

    def close(self, timeout_s: float) -> None:
        """Wait for what is open, then leave."""
        deadline = time.monotonic() + timeout_s
        while self._unconfirmed and time.monotonic() < deadline:
            self.poll(0.05)
        leave(self._turns, self._lanes)
        self._tell()

    def _publish(self) -> None:
        for partition, lane in enumerate(self._lanes):
            waiting, connection = self._waiting[partition], lane.connection
            if not waiting or not connection:
                continue
            self._open[partition].update((each.publishing_id, each) for each in waiting)
            for batch in _frames(waiting):
                # It writes at once, and waits only for the socket to take it: the order is kept.
                frame = schema.Publish(ID, batch)
                self._turns.start(connection.client.send_publish_frame(frame))
            waiting.clear()

    async def _use(self, partition: int, connection: Connection) -> None:
        def hear(frame: schema.Frame) -> None:
            self._heard.append((partition, connection, frame))
            self._turns.tell()

        connection.hear(schema.PublishConfirm, hear)
        connection.hear(schema.PublishError, hear)
        stream = self._streams[partition]
        await connection.asked(connection.client.declare_publisher(stream, self._name, ID))
        self._turns.tell()

    def _lost(self, partition: int, why: str) -> None:
        self._listen()
        gone = self._open[partition]
        if self._settings.send_again:
            self._unsure[partition].update(gone)
            self._waiting[partition].extendleft(reversed(gone.values()))
        else:
            for sequence in gone:
                self._sink.failed(sequence, partition, now_ns(), Outcome.INDETERMINATE, why)
        gone.clear()
        self._turns.tell()

    def _listen(self) -> None:
        while self._heard:
            partition, connection, frame = self._heard.popleft()
            if isinstance(frame, schema.PublishConfirm):
                self._confirmed(partition, frame)
            elif isinstance(frame, schema.PublishError):
                self._refused(partition, connection, frame)

    def _confirmed(self, partition: int, frame: schema.PublishConfirm) -> None:
        sequences, partitions = self._acked
        gone, unsure = self._open[partition], self._unsure[partition]
        for sequence in frame.publishing_ids:
            if gone.pop(sequence, None):
                unsure.discard(sequence)
                sequences.append(sequence)
                partitions.append(partition)

    def _refused(self, partition: int, connection: Connection, frame: schema.PublishError) -> None:
        for each in frame.errors:
            number, code = each.publishing_id, each.response_code
            if self._open[partition].pop(number, None):
                reason = f"refused: {ServerError.from_code(code).__name__} (code {code})"
                sure = number not in self._unsure[partition]
                outcome = Outcome.REFUSED if sure else Outcome.INDETERMINATE
                self._sink.failed(number, partition, now_ns(), outcome, reason)
                self._unsure[partition].discard(number)
            if code == PublisherDoesNotExist.code:
                connection.give_up("the node knows this publisher no more")

    def _tell(self) -> None:
        """All that a turn brought is dated at its end: never too early."""
        self._listen()
        sequences, partitions = self._acked
        if sequences:
            self._sink.acknowledged(sequences, partitions, [-1] * len(sequences), now_ns())
            self._acked = [], []


def _frames(messages: deque[schema.Message]) -> Iterator[list[schema.Message]]:
    batch: list[schema.Message] = []
    size = 0
    for message in messages:
        if batch and size + len(message.data) > _FRAME_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.data)
    yield batch
