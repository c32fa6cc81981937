"""How a client comes to a stream and back to it, whatever becomes of nodes. Each step has an end,
and the search has none.

    asking a node who has the stream ──told──> connecting to it ──taken up──> up
      ^ ^                            └─ no ──┐   └─ failed ─┐                  │
      │ └── the next one; a pause after each round <────────┘                  │
      └──────── the same one <── lost, silent, or the stream is elsewhere <────┘
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from rstream.schema import Broker

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq.drivers.rstream.connection import FAILED, Connection
from chaos_adapters.brokers.rabbitmq.drivers.rstream.settings import Streaming
from chaos_adapters.brokers.rabbitmq.drivers.rstream.turns import Turns
from chaos_adapters.brokers.rabbitmq.topology import STREAM

_CONNECT_S = 20.0
Use = Callable[[Connection], Coroutine[Any, Any, None]]


class Lane:
    """One stream's connection, or the search for one."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        stream: str,
        settings: Streaming,
        use: Use,
        lost: Callable[[str], None],
        *,
        leader: bool,
    ) -> None:
        """The first of `clients` is asked first. A connection is up when `use` is over, which may
        raise FAILED; `lost` is told why it is not up any more. `leader`: it must be that node, else
        one that follows is taken where there is one."""
        self._nodes = {name: address.of(STREAM) for name, address in clients.items()}
        self._stream, self._settings, self._leader = stream, settings, leader
        self._use, self._lost = use, lost
        self._failures, self._leaving = 0, False
        self.connection: Connection | None = None
        """The one that is up."""
        self.trouble = ""
        """What failed last."""

    async def run(self) -> None:
        """Until it is left."""
        names, asked = list(self._nodes), 0
        while not self._leaving:
            if connection := await self._found(names[asked % len(names)]):
                why = await self._up(connection)
                self._failures = 0
                self._lost(why)
                continue
            asked, self._failures = asked + 1, self._failures + 1
            if self._failures % len(names) == 0:
                await asyncio.sleep(self._settings.reconnect_pause)

    async def leave(self) -> None:
        """Say good-bye, and look for nobody else."""
        self._leaving = True
        if self.connection:
            await self.connection.leave()

    async def _up(self, connection: Connection) -> str:
        self.connection = connection
        try:
            return await connection.ended()
        finally:
            self.connection = None
            connection.drop()

    async def _found(self, asked: str) -> Connection | None:
        """By the word of one node."""
        try:
            async with AsyncExitStack() as stack:
                first = await self._connected(asked, stack)
                named = await first.asked(first.client.query_leader_and_replicas(self._stream))
                wanted = self._chosen(*named)
                connection = first if wanted == asked else await self._connected(wanted, stack)
                await self._use(connection)
                stack.pop_all()
                if first is not connection:
                    first.drop()
                return connection
        except FAILED as error:
            self.trouble = f"{asked}: {error!r}"
            return None

    async def _connected(self, node: str, stack: AsyncExitStack) -> Connection:
        connection = Connection(node, self._nodes[node], self._stream, self._settings)
        stack.callback(connection.drop)
        await connection.open()
        return connection

    def _chosen(self, leader: Broker, replicas: list[Broker]) -> str:
        """By the addresses that nodes advertise; another replica after each failure. Raises
        LookupError."""
        has = [(each.host, each.port) for each in ([leader] if self._leader else replicas)]
        names = [
            name for name, address in self._nodes.items() if (address.host, address.port) in has
        ]
        if names:
            return names[self._failures % len(names)]
        if not self._leader and replicas != [leader]:
            return self._chosen(leader, [leader])
        raise LookupError(f"{has} is no address of a node")


def connect(turns: Turns, lanes: Sequence[Lane]) -> None:
    """Start them, and wait until all are up for the first time. Raises ClusterError."""
    for lane in lanes:
        turns.start(lane.run())
    deadline = time.monotonic() + _CONNECT_S
    while down := [lane for lane in lanes if not lane.connection]:
        turns.turn(0.05)
        if time.monotonic() > deadline:
            leave(turns, lanes)
            raise ClusterError(f"RabbitMQ: a stream lets no client in: {down[0].trouble}")


def leave(turns: Turns, lanes: Sequence[Lane]) -> None:
    """Close all, and be done with asyncio."""

    async def all_of_them() -> None:
        await asyncio.gather(*(lane.leave() for lane in lanes))

    turns.run(all_of_them())
    turns.close()


def nodes(lanes: Sequence[Lane]) -> str | None:
    """Where they are connected to now."""
    return ", ".join(sorted({lane.connection.node for lane in lanes if lane.connection})) or None
