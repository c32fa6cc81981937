"""Pings in a broker's own protocol, and what else a connection to a port of ours can measure."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chaos.errors import ClusterError
from chaos.spi import Port

_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16
_AHEAD = 64


def ping(number: int, port: Port, timeout_s: float) -> float | None:
    """Seconds until the first byte of the answer came back through a published port."""
    started = time.monotonic()
    try:
        with _connected(number, timeout_s) as connection:
            connection.sendall(port.ping)
            answered = bool(connection.recv(1))
    except OSError:
        return None
    return time.monotonic() - started if answered else None


def reaches(number: int, port: Port, timeout_s: float) -> bool:
    """Whether a byte arrives at the other end: behind it comes the end of the stream, upon which
    the proxy that wrote the byte to the other end closes the connection. Where the byte is held
    up, so is the end behind it."""
    try:
        with _connected(number, timeout_s) as connection:
            connection.sendall(port.ping[:1])
            connection.shutdown(socket.SHUT_WR)
            return not connection.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True  # closed more abruptly


@dataclass(frozen=True)
class OpenConnection:
    """spi.Witness."""

    connection: socket.socket
    port: Port

    def closed(self, within_s: float) -> bool:
        """Send a ping, and see the end of the connection."""
        self.connection.settimeout(within_s)
        try:
            self.connection.sendall(self.port.ping)
            return not self.connection.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True


@contextmanager
def witness(number: int, port: Port, timeout_s: float) -> Iterator[OpenConnection]:
    """A connection on which a ping was answered. Raises ClusterError."""
    try:
        connection = _connected(number, timeout_s)
    except OSError as error:
        raise ClusterError(f"no connection to {port.name}: {error}") from error
    with connection:
        try:
            connection.sendall(port.ping)
            answered = connection.recv(_CHUNK)
        except OSError as error:
            raise ClusterError(f"no answer from {port.name}: {error}") from error
        if not answered:
            raise ClusterError(f"{port.name} closed the connection instead of answering")
        yield OpenConnection(connection, port)


def flow(number: int, port: Port, size: int, timeout_s: float) -> tuple[float, float]:
    """Bytes a second that were sent and answered, while pings followed each other on one connection
    until so many bytes had gone either way; zeros when it answered once only."""
    deadline = time.monotonic() + timeout_s
    try:
        with _connected(number, timeout_s) as connection:
            connection.sendall(port.ping)
            answer = len(connection.recv(_CHUNK))  # its length tells how many pings were answered
            answer += _rest(connection)
            if not answer:
                return 0.0, 0.0
            return _pumped(connection, port.ping, answer, size, deadline)
    except OSError:
        return 0.0, 0.0


def _rest(connection: socket.socket) -> int:
    """What of the first answer comes a moment later."""
    got, connection_timeout = 0, connection.gettimeout()
    connection.settimeout(0.2)
    try:
        while part := connection.recv(_CHUNK):
            got += len(part)
    except TimeoutError:
        pass
    connection.settimeout(connection_timeout)
    return got


def _pumped(
    connection: socket.socket, each: bytes, answer: int, size: int, deadline: float
) -> tuple[float, float]:
    wanted = max(2, size // max(len(each), answer))
    sender = threading.Thread(target=_send, args=(connection, each, wanted), daemon=True)
    got, started = 0, time.monotonic()
    sender.start()
    connection.settimeout(0.5)
    last = started
    while got < wanted * answer and time.monotonic() < deadline:
        try:
            part = connection.recv(_CHUNK)
        except TimeoutError:
            continue
        if not part:
            break
        got, last = got + len(part), time.monotonic()
    seconds = last - started
    if got < 2 * answer or not seconds:
        return 0.0, 0.0
    return got / answer * len(each) / seconds, got / seconds


def _send(connection: socket.socket, each: bytes, times: int) -> None:
    try:
        for _ in range(0, times, _AHEAD):
            connection.sendall(each * _AHEAD)
    except OSError:
        return  # the reader sees the end, too


def _connected(number: int, timeout_s: float) -> socket.socket:
    connection = socket.create_connection((_LOOPBACK, number), timeout_s)
    connection.settimeout(timeout_s)
    return connection
