"""One connection of rstream, and what rstream tells nobody about it.

Everything that this file reads besides rstream's public names is for that: `Client` has no way to
ask whether its reader is still at work or when anything came last, nor to leave a node that does
not answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from rstream import schema
from rstream.client import Client
from rstream.connection import ConnectionClosed
from rstream.exceptions import ClientError, ServerError

from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq.drivers.rstream.settings import Streaming
from chaos_adapters.brokers.rabbitmq.topology import PASSWORD, USER

T = TypeVar("T")

FAILED = (OSError, ConnectionClosed, ServerError, ClientError, LookupError, ValueError)
"""What may come out of a request: a connection that is lost or too slow, a refusal, an answer
without a node that is down (KeyError), a frame that cannot be read."""

ID = 1
"""Of the only publisher or subscription of a connection."""

_LOOK_AGAIN_S = 0.2
_ASLEEP_S = 1.0
_LEAVE_S = 1.0


class Connection:
    """To one node, about one stream."""

    def __init__(self, node: str, at: Address, stream: str, settings: Streaming) -> None:
        self.node, self._stream, self._settings = node, stream, settings
        self._gone = asyncio.Event()
        self._why = ""
        self.client = Client(
            at.host, at.port, frame_max=1 << 20, heartbeat=settings.heartbeat,
            connection_name="mqchaos", connection_closed_handler=self._closed,
        )  # fmt: skip
        # Whoever has no stream is not told that the connection is lost.
        self.client.add_stream(stream)
        self._looked_s = self._awake_since_s = time.monotonic()

    async def open(self) -> None:
        """Raises FAILED when the node does not let it in, in time."""
        await self.asked(self._open())

    async def _open(self) -> None:
        await self.client.start()
        self.hear(schema.Close, lambda frame: self.give_up(f"closed: {frame.reason}"))
        self.hear(schema.MetadataUpdate, self._moved)
        await self.client.authenticate("/", USER, PASSWORD)

    def hear(self, frames: type[schema.Frame], handler: Callable[[Any], None]) -> None:
        """Call it with each of these frames. rstream swallows what it raises, and whatever that is:
        it should do no more than keep the frame."""
        self.client.add_handler(frames, handler, name=str(ID))

    async def asked(self, request: Coroutine[Any, Any, T]) -> T:
        """What comes of it, or FAILED. rstream lets whoever asks wait for 10 s, on a connection
        that is lost too."""
        answer, gone = asyncio.ensure_future(request), asyncio.ensure_future(self._gone.wait())
        try:
            limit_s = self._settings.connect_timeout
            await asyncio.wait((answer, gone), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise ConnectionError(self._why or f"no answer within {limit_s:g} s")
        finally:
            answer.cancel()
            gone.cancel()

    async def ended(self) -> str:
        """Wait until it is of no use any more; why that is."""
        while not (why := self._over()):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), _LOOK_AGAIN_S)
        return why

    @property
    def usable(self) -> bool:
        """Whether nothing is known that speaks against it."""
        return not self._why

    def give_up(self, why: str) -> None:
        """It is of no use any more."""
        self._why = self._why or why
        self._gone.set()

    def drop(self) -> None:
        """Cut it off. rstream's `close` waits for answers, for ever when nobody takes what was
        written, and leaves the socket of a lost connection open."""
        self.give_up("dropped")
        for task in self.client._tasks.values():
            task.cancel()
        if (wire := self.client._conn) and wire._writer:
            wire._writer.transport.abort()

    async def leave(self) -> None:
        """Say good-bye, if that can be done soon."""
        with suppress(*FAILED):
            await asyncio.wait_for(self.client.close(), _LEAVE_S)
        self.drop()

    def _over(self) -> str:
        """rstream forgets to tell when writing failed first, ends its reader at a frame that it
        cannot read, and only logs that heartbeats are missing."""
        now = time.monotonic()
        if now - self._looked_s > _ASLEEP_S:  # what came meanwhile was not read yet
            self._awake_since_s = now
        self._looked_s = now
        reader = self.client._tasks.get("listener")
        if reader and reader.done() and not reader.cancelled() and reader.exception():
            self.give_up(f"rstream cannot read it: {reader.exception()!r}")
        elif not self.client.is_connection_alive():
            self.give_up("connection lost")
        silent_s = now - max(self.client._last_heartbeat, self._awake_since_s)
        if self._settings.heartbeat and silent_s > 2 * self._settings.heartbeat:
            self.give_up(f"silent for {silent_s:.0f} s")
        return self._why

    def _closed(self, _: object) -> None:
        self.give_up("connection lost")

    def _moved(self, frame: schema.MetadataUpdate) -> None:
        """The node has forgotten publishers and subscriptions of the stream already."""
        if frame.metadata_info.stream == self._stream:
            self.give_up(f"stream not available here (code {frame.metadata_info.code})")
