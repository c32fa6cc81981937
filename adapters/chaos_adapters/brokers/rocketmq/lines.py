"""Connections to brokers, name servers and controllers, none of which ever blocks."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.remoting import Frame, frames, request

_READ_SIZE = 1 << 18
_CONNECT_S = 1.0
_RETRY_S = 0.05
"""A server that refuses connections is tried again so much later."""


class Line:
    """A connection to one server, made anew when it broke; whoever holds it polls and calls `turn`.

    Questions go by a tag of the holder's choice; what is open when the connection breaks is given
    back once by `lost`.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.open: dict[int, Any] = {}
        self._socket: socket.socket | None = None
        self._opaque, self._tried_at = 0, 0.0
        self._unsent, self._received = bytearray(), bytearray()
        self._lost: list[Any] = []

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known; through a proxy that says little."""
        return self._socket is not None

    def connect(self, now: float) -> bool:
        """Connect, unless that is done or was tried a moment ago; `now` is a `time.monotonic`."""
        if not self._socket and now >= self._tried_at + _RETRY_S:
            self._tried_at = now
            self._received.clear()  # half an answer: the rest of it will not come
            self._socket = socket.socket()
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.connect_ex((self.address.host, self.address.port))
        return self.connected

    def next_opaque(self, tag: Any) -> int:  # noqa: ANN401 - the holder's
        """A number for the next question, which is open from now on."""
        self._opaque += 1
        self.open[self._opaque] = tag
        return self._opaque

    def ask(self, tag: Any, code: int, fields: Mapping[str, object], body: bytes = b"") -> int:  # noqa: ANN401
        """Ask; the answer comes with the tag. Its number."""
        opaque = self.next_opaque(tag)
        self.put(request(code, opaque, fields, body))
        return opaque

    def put(self, content: bytes) -> None:
        """Send what is a frame, or several, already."""
        self._unsent += content
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        if not self._unsent or not self._socket:
            return
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def turn(self) -> list[tuple[Any, Frame]]:
        """Send and receive what can be now: answers with their tags; requests of the server come
        with None, answers that nobody waits for any more not at all."""
        self.flush()
        self._receive()
        found: list[tuple[Any, Frame]] = []
        try:
            for frame in frames(self._received):
                if not frame.is_answer:
                    found.append((None, frame))
                elif frame.opaque in self.open:
                    found.append((self.open.pop(frame.opaque), frame))
        except ValueError:
            self.close()
        return found

    def _receive(self) -> None:
        while self._socket:
            try:
                part = self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            if not part:
                self.close()
            self._received += part
            if len(part) < _READ_SIZE:
                return

    @property
    def interest(self) -> tuple[int, int]:
        """The file descriptor and what to wait for on it; only while connected."""
        assert self._socket
        return self._socket.fileno(), select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def lost(self) -> list[Any]:
        """The tags of questions whose connection broke before they were answered."""
        lost, self._lost = self._lost, []
        return lost

    def close(self) -> None:
        """Give the socket back; `connect` makes a new one."""
        if self._socket:
            self._socket.close()
        self._socket = None
        self._lost += self.open.values()
        self.open.clear()
        self._unsent.clear()
        # What was received before stays: an answer is an answer.


def wait(lines: Sequence[Line], timeout_s: float) -> None:
    """Until something happens on one of them, or for so long."""
    poll, some = select.poll(), False
    for line in lines:
        if line.connected:
            poll.register(*line.interest)
            some = True
    if some or timeout_s > 0:
        poll.poll(max(0.0, timeout_s) * 1000)


def ask(
    address: Address,
    code: int,
    fields: Mapping[str, object],
    timeout_s: float,
    body: bytes = b"",
    fine: Sequence[int] = (codes.SUCCESS,),
) -> Frame:
    """Ask one server once. Raises ClusterError when it does not answer in time, or says no: with a
    code that is not in `fine`."""
    line, deadline = Line(address), time.monotonic() + timeout_s
    try:
        line.connect(time.monotonic())
        line.ask(True, code, fields, body)
        while line.connected and (left_s := deadline - time.monotonic()) > 0:
            wait([line], left_s)
            for _, frame in line.turn():
                return _checked(frame, address, code, fine)
    finally:
        line.close()
    raise ClusterError(f"{address} does not answer request {code}")


def _checked(frame: Frame, address: Address, code: int, fine: Sequence[int]) -> Frame:
    if frame.code not in fine:
        name = codes.NAMES.get(frame.code, str(frame.code))
        raise ClusterError(f"{address} answers request {code} with {name}: {frame.remark}")
    return frame
