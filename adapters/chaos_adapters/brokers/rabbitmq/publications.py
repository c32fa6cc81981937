"""Messages as the frames that publish them; pika encodes what they have in common only once.

Source: AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2.6 (content).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pika import BasicProperties
from pika.channel import Channel
from pika.frame import Body, Header, Method
from pika.spec import FRAME_END_SIZE, FRAME_HEADER_SIZE, Basic

_SIZES = 1024
"""Of how many sizes of messages what goes before them is kept."""


class Publications:
    """Messages for these queues, by their place in `queues`, through the default exchange."""

    def __init__(
        self,
        channel: Channel,
        queues: Sequence[str],
        properties: BasicProperties,
        mandatory: bool,
    ) -> None:
        self._number: int = channel.channel_number
        self._piece: int = channel.connection.params.frame_max - FRAME_HEADER_SIZE - FRAME_END_SIZE

        @lru_cache(_SIZES * len(queues))
        def head(queue: int, size: int) -> bytes:
            publish = Basic.Publish(exchange="", routing_key=queues[queue], mandatory=mandatory)
            method: bytes = Method(self._number, publish).marshal()
            header: bytes = Header(self._number, size, properties).marshal()
            return method + header

        self._head = head

    def frames(self, queue: int, body: bytes) -> list[bytes]:
        """All that publishes one message, in order."""
        pieces = [body[at : at + self._piece] for at in range(0, len(body), self._piece)]
        bodies = [Body(self._number, piece).marshal() for piece in pieces]
        return [self._head(queue, len(body)), *bodies]
