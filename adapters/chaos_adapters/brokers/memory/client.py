"""Connections to nodes, as all clients use them: non-blocking, and made again when they break."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address
from chaos_adapters.brokers.memory.wire import Frames, Head, pack

RETRY_S = 0.05
READ_SIZE = 1 << 20

LOST: Head = {}
"""In an event instead of a frame's head: the connection broke."""

GREETING = 0
"""The id of the first request on each connection."""


class Connection:
    """One connection to a node, which is `up` once the node has answered the greeting.

    A connect alone proves nothing: the kernel accepts for a frozen node, a proxy for a dead one.
    """

    def __init__(self, address: Address, greeting: Head) -> None:
        self.up = False
        self.tried_at = 0.0
        self._address, self._greeting = address, pack({"id": GREETING, **greeting})
        self._socket: socket.socket | None = None
        self._frames, self._unsent = Frames(), bytearray()

    @property
    def open(self) -> bool:
        """Whether there is a socket, with or without a node that answers behind it."""
        return self._socket is not None

    @property
    def flushed(self) -> bool:
        """Whether everything written is in the kernel's hands."""
        return not self._unsent

    @property
    def interest(self) -> tuple[int, int]:
        """The file descriptor and what to wait for on it."""
        assert self._socket
        return self._socket.fileno(), select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def connect(self, now: float) -> None:
        """Try to connect, unless that is done or was tried just now."""
        if self._socket or now < self.tried_at + RETRY_S:
            return
        self.tried_at = now
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex((self._address.host, self._address.port))
        self._frames, self._unsent = Frames(), bytearray(self._greeting)

    def write(self, frame: bytes) -> None:
        """Send a frame when the socket takes it; only while `up`."""
        self._unsent += frame
        if len(self._unsent) == len(frame):
            self._flush()

    def turn(self, mask: int) -> Iterator[tuple[Head, bytes]]:
        """Do what the socket is ready for: the frames that came, or LOST."""
        assert self._socket
        try:
            if mask & select.POLLOUT:
                self._flush()
            if mask & ~select.POLLOUT:
                data = self._socket.recv(READ_SIZE)
                if not data:
                    raise ConnectionError("closed by the node")
                for head, blob in self._frames.feed(data):
                    self.up = True
                    yield head, blob
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self.close()
            yield LOST, b""

    def close(self) -> None:
        """Give the socket back; `connect` makes a new one."""
        if self._socket:
            self._socket.close()
        self._socket, self.up = None, False

    def _flush(self) -> None:
        assert self._socket
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except OSError:
            # What the node still answered can be read; reading then ends in LOST.
            return


def exchange(
    connections: Sequence[Connection], timeout_s: float, wake: int = -1
) -> list[tuple[Connection, Head, bytes]]:
    """Connect, send and receive on all connections: what came within the time, at the first sign.

    `wake` is a file descriptor that ends the wait as soon as it can be read.
    """
    poll, by_descriptor = select.poll(), {}
    now = time.monotonic()
    for connection in connections:
        connection.connect(now)
        if not connection.open:
            timeout_s = min(timeout_s, connection.tried_at + RETRY_S - now)
            continue
        descriptor, interest = connection.interest
        by_descriptor[descriptor] = connection
        poll.register(descriptor, interest)
    if wake >= 0:
        poll.register(wake, select.POLLIN)
    events = []
    for descriptor, mask in poll.poll(max(0.0, timeout_s) * 1000):
        if descriptor != wake:
            connection = by_descriptor[descriptor]
            events += [(connection, head, blob) for head, blob in connection.turn(mask)]
    return events


def ask(
    clients: Mapping[str, Address], requests: Mapping[str, Head], timeout_s: float
) -> dict[str, tuple[Head, bytes]]:
    """Send each node its request, and again if its connection breaks: the answers that came.

    Only for requests that may arrive twice. Raises ClusterError when a node refuses.
    """
    connections = {name: Connection(clients[name], request) for name, request in requests.items()}
    answers: dict[str, tuple[Head, bytes]] = {}
    deadline = time.monotonic() + timeout_s
    try:
        while len(answers) < len(requests) and (left_s := deadline - time.monotonic()) > 0:
            waiting = {connections[name]: name for name in connections if name not in answers}
            for connection, head, blob in exchange(list(waiting), left_s):
                if head is not LOST:
                    check(waiting[connection], head)
                    answers[waiting[connection]] = head, blob
    finally:
        for connection in connections.values():
            connection.close()
    return answers


def command(
    clients: Mapping[str, Address], requests: Mapping[str, Head], what: str, timeout_s: float
) -> dict[str, tuple[Head, bytes]]:
    """As `ask`, but all nodes have to answer. Raises DeadlineExceeded when one did not."""
    answers = ask(clients, requests, timeout_s)
    silent = sorted(set(requests) - set(answers))
    if silent:
        raise DeadlineExceeded(what, timeout_s, f"no answer from {', '.join(silent)}")
    return answers


def check(node: str, head: Head) -> None:
    """Raise ClusterError if an answer is a refusal."""
    if "error" in head:
        raise ClusterError(f"{node}: {head['error']}")


def connect_all(connections: Mapping[str, Connection], timeout_s: float) -> None:
    """Wait until every node has answered the greeting, or until the time is over and some have.

    Raises ClusterError when none did, or when one refused.
    """
    deadline = time.monotonic() + timeout_s
    names = {connection: name for name, connection in connections.items()}
    while not all(connection.up for connection in names):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        for connection, head, _ in exchange(list(names), left_s):
            check(names[connection], head)
    if not any(connection.up for connection in names):
        raise DeadlineExceeded("a connection to the cluster", timeout_s, "no node answers")
