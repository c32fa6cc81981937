"""Which node is the active controller of a KRaft cluster: DescribeQuorum on a plain socket.

librdkafka has no such request, and the "controller" of its describe_cluster is, with KRaft, any
broker that is alive. Source of the layout: Kafka's message schemas DescribeQuorumRequest.json and
DescribeQuorumResponse.json, api key 55, version 1; request header v2, response header v1.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaos.errors import ClusterError
from chaos.spi import Address

DESCRIBE_QUORUM = 55
VERSION = 1
CORRELATION = 7
CLIENT_ID = b"mqchaos"
TOPIC = b"__cluster_metadata"
MAX_ANSWER = 1 << 20
SILENT_MS = 1500


class QuorumError(ClusterError):
    """The broker did not answer, or answered with an error."""


class QuorumClient:
    """Asks whichever broker answers, the one that answered last time first."""

    def __init__(self, clients: Mapping[str, Address]) -> None:
        self._addresses = list(clients.values())

    def leader(self, timeout_s: float) -> int | None:
        """The node id of the active controller; None when no broker can name it in time."""
        each_s = timeout_s / len(self._addresses)
        for address in list(self._addresses):
            try:
                found = describe_quorum(address.host, address.port, each_s).leader
            except QuorumError:
                # To the end of the row: a paused broker should cost its time-out once.
                self._addresses.remove(address)
                self._addresses.append(address)
            else:
                return found if found >= 0 else None
        return None


@dataclass(frozen=True)
class Replica:
    """A node's copy of the metadata, as the leader knows it: its end, and when the node asked for
    more (ms on the leader's clock, -1: it never did; of the leader itself: now)."""

    end: int
    fetched_ms: int


@dataclass(frozen=True)
class Quorum:
    """The metadata quorum as its leader sees it; replicas by node id."""

    leader: int
    epoch: int
    high_watermark: int
    voters: dict[int, Replica]
    observers: dict[int, Replica]

    def silent(self, identities: Iterable[int]) -> list[int]:
        """Those of the nodes that do not vote, or have not asked for news lately.

        A controller asks at least every 0.5 s, as the leader lets no request wait for longer.
        """
        now_ms = self.voters[self.leader].fetched_ms if self.leader in self.voters else 0
        return [
            each
            for each in identities
            if each not in self.voters or now_ms - self.voters[each].fetched_ms > SILENT_MS
        ]


def describe_quorum(host: str, port: int, timeout_s: float = 2.0) -> Quorum:
    """Asks any broker, which forwards to the active controller, or a controller itself.

    A controller that does not lead answers NOT_LEADER_OR_FOLLOWER (6): ask brokers instead.
    Raises QuorumError; with no leader elected it is the timeout or a broker's error code.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as sock:
            sock.settimeout(timeout_s)
            sock.sendall(_request())
            (size,) = struct.unpack(">i", _read(sock, 4))
            if not 0 < size <= MAX_ANSWER:
                raise QuorumError(f"{host}:{port} answered {size} bytes: is this a Kafka listener?")
            answer = _read(sock, size)
    except OSError as error:
        raise QuorumError(f"{host}:{port} does not describe the quorum: {error}") from error
    try:
        return _parse(_Reader(answer))
    except (IndexError, struct.error) as error:
        raise QuorumError(f"{host}:{port} sent an answer that ends early: {error}") from error


def _request() -> bytes:
    # Compact lengths are one more than the length; each closing 0 is an empty tagged-field section.
    header = struct.pack(">hhih", DESCRIBE_QUORUM, VERSION, CORRELATION, len(CLIENT_ID))
    partition = b"\x02" + struct.pack(">i", 0) + b"\x00"
    topics = b"\x02" + bytes([len(TOPIC) + 1]) + TOPIC + partition + b"\x00"
    content = header + CLIENT_ID + b"\x00" + topics + b"\x00"
    return struct.pack(">i", len(content)) + content


def _read(sock: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = sock.recv(size - len(content))
        if not part:
            raise ConnectionError("connection closed")
        content += part
    return content


class _Reader:
    """Kafka's primitive types, off a byte string."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, format_: str) -> int:
        (value,) = struct.unpack_from(f">{format_}", self._content, self._at)
        self._at += struct.calcsize(format_)
        return int(value)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._content[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def string(self) -> str:
        size = max(self.varint() - 1, 0)
        self._at += size
        return self._content[self._at - size : self._at].decode()

    def count(self) -> int:
        return self.varint() - 1

    def skip_tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self._at += self.varint()


def _parse(reader: _Reader) -> Quorum:
    correlation = reader.number("i")
    if correlation != CORRELATION:
        raise QuorumError(f"the answer is to request {correlation}, not {CORRELATION}")
    reader.skip_tags()
    _check(reader.number("h"))
    if reader.count() != 1:
        raise QuorumError("the answer has no topic")
    reader.string()
    if reader.count() != 1:
        raise QuorumError("the answer has no partition")
    reader.number("i")
    _check(reader.number("h"))
    leader, epoch, high_watermark = (reader.number(form) for form in "iiq")
    return Quorum(leader, epoch, high_watermark, _replicas(reader), _replicas(reader))


def _check(code: int) -> None:
    if code:
        raise QuorumError(f"the broker answers with Kafka error code {code}")


def _replicas(reader: _Reader) -> dict[int, Replica]:
    found = {}
    for _ in range(reader.count()):
        node = reader.number("i")
        end, fetched_ms, _caught_up_ms = (reader.number(form) for form in "qqq")
        found[node] = Replica(end, fetched_ms)
        reader.skip_tags()
    return found
