"""A client's connection, and how it goes on when it is lost: pika's SelectConnection, driven by
whoever waits for something.

    connecting ──open──> up ──lost, left──> connecting to the next node
        └─ failed, by a time-out too ──────────┘   (a pause after each round)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.exceptions import AMQPError

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq.settings import Connecting
from chaos_adapters.brokers.rabbitmq.topology import PASSWORD, USER

# Lost connections are what this is about; pika would tell each of them in ten lines.
logging.getLogger("pika").setLevel(logging.CRITICAL)

_CLOSED_WITHIN_S = 5.0


class Line:
    """One connection at a time, to one of the nodes.

    `opened` is called with each new connection, `lost` when it is over; both while `turn` runs.
    """

    def __init__(
        self,
        clients: Mapping[str, Address],
        settings: Connecting,
        opened: Callable[[SelectConnection], None],
        lost: Callable[[], None],
    ) -> None:
        """The first node of `clients` is the first one to be tried."""
        self._nodes = list(clients)[:1] if settings.pinned else list(clients)
        self._clients, self._settings = clients, settings
        self._opened, self._lost = opened, lost
        self._loop = IOLoop()
        self._loop.activate_poller()
        self._at, self._tried = 0, 0
        self._connection: SelectConnection | None = None
        self._next_try_s = 0.0
        self.node: str | None = None
        """Where it is connected to now."""
        self.blocked = ""
        """Why the broker takes nothing from it now, as it says itself."""

    def connect(self, timeout_s: float, ready: Callable[[], bool]) -> None:
        """Wait until something is `ready` for the first time. Raises ClusterError."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.turn(0.05)
            if time.monotonic() > deadline:
                raise ClusterError(f"RabbitMQ: none of {', '.join(self._nodes)} lets clients in")

    def turn(self, timeout_s: float) -> None:
        """Let things happen: those that can happen now, or the first one that comes in time."""
        if self._connection is None and time.monotonic() >= self._next_try_s:
            self._try()
        wait = self._loop.call_later(timeout_s, _nothing)
        try:
            self._loop.poll()
            self._loop.process_timeouts()
        except AMQPError as error:
            # Out of what was about to be written; the connection is closed by now or soon will be.
            logging.getLogger(__name__).debug("%r", error)
        finally:
            self._loop.remove_timeout(wait)

    def leave(self) -> None:
        """Break the connection off and go on with the next node; `lost` is not called."""
        stale, self._connection = self._connection, None
        self.node, self.blocked = None, ""
        if stale and stale.is_open:
            # An orderly end would wait behind all that the node has not done yet, which it would
            # do after what comes over the next connection. pika has no public name for this one.
            stale._terminate_stream(AMQPError("left"))
        self._move_on()

    def close(self) -> None:
        """Close in order, if that can be done soon."""
        self._nodes = []
        if self._connection and self.node:
            self._connection.close()
            deadline = time.monotonic() + _CLOSED_WITHIN_S
            while self._connection and time.monotonic() < deadline:
                self.turn(0.05)
        self._loop.deactivate_poller()

    @property
    def unwritten(self) -> int:
        """Bytes that were handed over and did not leave this process yet."""
        # pika has no public name for it, and without it nothing holds back who never waits.
        return self._connection._get_write_buffer_size() if self._connection else 0

    def write(self, frames: Sequence[bytes]) -> None:
        """Hand over what is to go out as one piece, while connected."""
        # pika makes a system call, and so a TCP segment, of each piece: three for a message.
        if frames and self._connection:
            self._connection._output_marshaled_frames([b"".join(frames)])

    def _try(self) -> None:
        if not self._nodes:
            return
        address = self._clients[self._nodes[self._at]]
        settings = self._settings
        parameters = pika.ConnectionParameters(
            address.host, address.port, "/", pika.PlainCredentials(USER, PASSWORD),
            heartbeat=settings.heartbeat, connection_attempts=1,
            socket_timeout=settings.connect_timeout, stack_timeout=settings.connect_timeout,
        )  # fmt: skip
        self._connection = SelectConnection(
            parameters, self._on_open, self._on_failed, self._on_closed, custom_ioloop=self._loop
        )

    def _on_open(self, connection: SelectConnection) -> None:
        if not self._is(connection):
            connection.close()
            return
        self.node, self._tried, self.blocked = self._nodes[self._at], 0, ""
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._opened(connection)

    def _on_blocked(self, connection: object, frame: Any) -> None:  # noqa: ANN401 - pika's frame
        if self._is(connection):
            self.blocked = str(frame.method.reason) or "blocked"

    def _on_unblocked(self, connection: object, _: object) -> None:
        if self._is(connection):
            self.blocked = ""

    def _on_failed(self, connection: SelectConnection, _: object) -> None:
        if self._is(connection):
            self._connection = None
            self._move_on()

    def _on_closed(self, connection: SelectConnection, _: object) -> None:
        if self._is(connection):
            self._connection, self.node, self.blocked = None, None, ""
            self._lost()
            self._move_on()

    def _is(self, connection: object) -> bool:
        return connection is self._connection

    def _move_on(self) -> None:
        if not self._nodes:
            return
        self._at, self._tried = (self._at + 1) % len(self._nodes), self._tried + 1
        round_over = self._tried % len(self._nodes) == 0
        pause_s = self._settings.reconnect_pause if round_over else 0.0
        self._next_try_s = time.monotonic() + pause_s


def _nothing() -> None:
    """What is called when nothing else came in time."""
