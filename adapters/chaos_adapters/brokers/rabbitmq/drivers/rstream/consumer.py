"""The consumer: streams keep their messages, so it has to know where it is, and nothing else.

Chunks that came in are handed over message by message, and a chunk that was handed over is worth
one credit. What came in and was not handed over is not thrown away with its connection: the next
one goes on behind it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from rstream import schema
from rstream.amqp import amqp_decoder
from rstream.constants import OffsetType
from rstream.exceptions import OffsetNotFound

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries
from chaos.timing import now_ns
from chaos_adapters.brokers.rabbitmq.drivers.rstream.connection import FAILED, ID, Connection
from chaos_adapters.brokers.rabbitmq.drivers.rstream.lane import Lane, connect, leave, nodes
from chaos_adapters.brokers.rabbitmq.drivers.rstream.settings import Consuming
from chaos_adapters.brokers.rabbitmq.drivers.rstream.turns import Turns

_STORED_WITHIN_S = 5.0


class _Message(NamedTuple):
    partition: int
    offset: int
    data: bytes
    spent: Connection | None
    """Whom to give a credit for the chunk of which this is the last."""


class StreamConsumer:
    """spi.Consumer of all streams; SettlesDurably."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        streams: Sequence[str],
        settings: Consuming,
        group: str,
    ) -> None:
        """Raises ClusterError."""
        self._streams, self._settings, self._group = streams, settings, group
        self._chunks: deque[tuple[int, Connection, schema.Deliver]] = deque()
        self._waiting: deque[_Message] = deque()
        self._next: dict[int, int] = {}
        """Which offset is to come next, by partition."""
        self._handed_over: dict[int, int] = {}
        """The last offset of each partition."""
        self._stored: dict[int, int] = {}
        """What was last sent to be stored, likewise."""
        self._turns = Turns()
        self._lanes = [
            Lane(clients, name, settings, partial(self._use, partition), self._lost, leader=False)
            for partition, name in enumerate(streams)
        ]
        connect(self._turns, self._lanes)

    def told(self) -> Mapping[str, str | None]:
        """See spi.TellsItself."""
        return {"node": nodes(self._lanes)}

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """What is there, or comes first."""
        self._turns.turn(0.0 if self._waiting or self._chunks else timeout_s)
        while self._chunks and len(self._waiting) < most:
            self._unpack(*self._chunks.popleft())
        found = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        for message in found:
            self._handed_over[message.partition] = message.offset
        self._give_credit(each.spent for each in found)
        if not found:
            return None
        return Deliveries(
            [_body(each.data) for each in found], [each.partition for each in found],
            [each.offset for each in found], now_ns(),
        )  # fmt: skip

    def settle(self) -> None:
        """Store the positions, if that is wanted; they leave with the next turn."""
        if self._settings.store_offsets:
            for partition, offset in self._handed_over.items():
                if self._stored.get(partition) != offset:
                    self._store(partition, offset)

    def settle_durably(self) -> None:
        """Store the positions, and again until they are there: nobody confirms them."""
        wanted = dict(self._handed_over) if self._settings.store_offsets else {}
        deadline = time.monotonic() + _STORED_WITHIN_S
        while wanted:
            for partition, offset in list(wanted.items()):
                self._store(partition, offset)
                self._turns.turn(0.05)
                if self._turns.run(self._position(partition)) >= offset:
                    del wanted[partition]
            if time.monotonic() > deadline:
                raise ClusterError(f"RabbitMQ: no position within {_STORED_WITHIN_S:g} s")

    def close(self) -> None:
        """Settle durably and leave."""
        try:
            self.settle_durably()
        finally:
            leave(self._turns, self._lanes)

    def _store(self, partition: int, offset: int) -> None:
        """A stream that has nobody now waits for the next time."""
        if connection := self._lanes[partition].connection:
            stream = self._streams[partition]
            self._turns.start(connection.client.store_offset(stream, self._group, offset))
            self._stored[partition] = offset

    async def _position(self, partition: int) -> int:
        """The last offset that was stored; -1: none, or nobody says."""
        connection = self._lanes[partition].connection
        if connection is None:
            return -1
        try:
            return await self._asked(partition, connection)
        except FAILED:
            return -1

    async def _asked(self, partition: int, connection: Connection) -> int:
        """The last offset that was stored; -1: none. Raises FAILED."""
        question = connection.client.query_offset(self._streams[partition], self._group)
        try:
            return await connection.asked(question)
        except OffsetNotFound:
            return -1

    async def _use(self, partition: int, connection: Connection) -> None:
        if self._settings.store_offsets and partition not in self._next:
            self._next[partition] = await self._asked(partition, connection) + 1
        client, take = connection.client, partial(self._take, partition, connection)
        # rstream hands frames of deliveries to a task with the number of the subscription.
        connection.hear(schema.Deliver, take)
        await client.run_queue_listener_task(ID, take)
        begin = schema.OffsetSpec.from_params(OffsetType.OFFSET, self._next.get(partition, 0))
        await connection.asked(
            client.subscribe(self._streams[partition], ID, begin, self._settings.credit)
        )
        self._turns.tell()

    def _give_credit(self, spent: Iterable[Connection | None]) -> None:
        """One for each chunk, also before the answer to the subscription has come in."""
        for connection, count in Counter(spent).items():
            if connection and connection.usable:
                self._turns.start(connection.client.credit(ID, count))

    def _take(self, partition: int, connection: Connection, frame: schema.Deliver) -> None:
        self._chunks.append((partition, connection, frame))
        self._turns.tell()

    def _lost(self, _: str) -> None:
        self._turns.tell()

    def _unpack(self, partition: int, connection: Connection, frame: schema.Deliver) -> None:
        """Chunks may begin before what was asked for."""
        begin = self._next.get(partition, 0)
        numbered = enumerate(frame.get_messages(), frame.chunk_first_offset)
        new = [(offset, data) for offset, data in numbered if offset >= begin]
        if not new:
            self._give_credit([connection])
            return
        self._next[partition] = new[-1][0] + 1
        self._waiting.extend(_Message(partition, offset, data, None) for offset, data in new[:-1])
        self._waiting.append(_Message(partition, *new[-1], connection))


def _body(data: bytes) -> bytes:
    """What an application gets; of what is no AMQP 1.0, all of it."""
    try:
        body = amqp_decoder(data).body
    except (LookupError, ValueError, TypeError):
        return data
    return body if isinstance(body, bytes) else data
