"""Nodes that speak as much of the stream protocol as a client needs, by rstream's own encoding."""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from rstream import schema
from rstream.constants import OffsetType
from rstream.encoding import decode_frame, encode_frame

from chaos.spi import Address

STREAM = "chaos.0"


class Node:
    """Number n of a cluster; what it does is changed while it runs."""

    def __init__(self, cluster: list[Node]) -> None:
        self.cluster, self.number = cluster, len(cluster)
        self.leader: int | None = 0
        """Whom it names as the leader of the stream."""
        self.replicas = [1, 2]
        self.mood = "confirm"
        """With what is published: `confirm`, `refuse`, or `keep` it without a word."""
        self.published: list[tuple[str, int]] = []
        """Name of the publisher and number of the message."""
        self.subscribed: list[int] = []
        """Where subscriptions began."""
        self.early: list[bytes] = []
        """A chunk that comes 0.2 s before the answer to a subscription, from offset 0."""
        self.credits = 0
        self.positions: dict[str, int] = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._name = ""
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> Address:
        """As clients know it."""
        host, port = self._server.getsockname()
        return Address(host, port, {"stream": port})

    def cut(self) -> None:
        """Close all connections."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def stop(self) -> None:
        """Take no connections either."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def say(self, frame: schema.Frame, *, response: bool = False) -> None:
        """To whoever connected last."""
        self._sockets[-1].sendall(_written(frame, response))

    def deliver(self, first: int, bodies: list[bytes]) -> None:
        """One chunk."""
        data = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
        self.say(schema.Deliver(
            1, 0, 0, len(bodies), len(bodies), 0, 1, first, zlib.crc32(data), len(data), 0, 0, data
        ))  # fmt: skip

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._sockets.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while size := stream.read(4):
                for answer in self._answers(_read(stream.read(int.from_bytes(size, "big")))):
                    response = not isinstance(
                        answer, schema.Tune | schema.PublishConfirm | schema.PublishError
                    )
                    connection.sendall(_written(answer, response))

    def _answers(self, asked: schema.Frame) -> Iterator[schema.Frame]:
        yield from self._let_in(asked, asked.corr_id or 0)
        yield from self._stored(asked, asked.corr_id or 0)
        yield from self._given(asked, asked.corr_id or 0)

    def _let_in(self, asked: schema.Frame, number: int) -> Iterator[schema.Frame]:
        match asked:
            case schema.PeerProperties():
                yield schema.PeerPropertiesResponse(number, 1, [])
            case schema.SaslHandshake():
                yield schema.SaslHandshakeResponse(number, 1, ["PLAIN"])
            case schema.SaslAuthenticate():
                yield schema.SaslAuthenticateResponse(number, 1)
                yield schema.Tune(1 << 20, 60)
            case schema.Open():
                yield schema.OpenResponse(number, 1, [])
            case schema.Close():
                yield schema.CloseResponse(number, 1)

    def _stored(self, asked: schema.Frame, number: int) -> Iterator[schema.Frame]:
        match asked:
            case schema.Metadata():
                yield self._metadata(number)
            case schema.DeclarePublisher():
                self._name = asked.reference
                yield schema.DeclarePublisherResponse(number, 1)
            case schema.Publish():
                ids = [each.publishing_id for each in asked.messages]
                self.published += [(self._name, each) for each in ids]
                yield from self._judged(ids)

    def _given(self, asked: schema.Frame, number: int) -> Iterator[schema.Frame]:
        match asked:
            case schema.Subscribe():
                assert isinstance(asked.offset_spec, schema.OffsetSpecOffset)
                self.subscribed.append(asked.offset_spec.value)
                self.credits += asked.credit
                if self.early:
                    self.deliver(0, self.early)
                    time.sleep(0.2)
                yield schema.SubscribeResponse(number, 1)
            case schema.Credit():
                self.credits += asked.credit
            case schema.StoreOffset():
                self.positions[asked.reference] = asked.offset
            case schema.QueryOffset():
                known = asked.reference in self.positions
                code, offset = (1, self.positions[asked.reference]) if known else (19, 0)
                yield schema.QueryOffsetResponse(number, code, offset)

    def _metadata(self, number: int) -> schema.MetadataResponse:
        brokers = [
            schema.Broker(each.number, each.address.host, each.address.port)
            for each in self.cluster
            if each._server.fileno() >= 0
        ]
        leader = 65535 if self.leader is None else self.leader
        told = schema.StreamMetadata(STREAM, 1, leader, self.replicas)
        return schema.MetadataResponse(number, brokers, [told])

    def _judged(self, ids: list[int]) -> Iterator[schema.Frame]:
        if self.mood == "confirm":
            yield schema.PublishConfirm(1, ids)
        elif self.mood == "refuse":
            yield schema.PublishError(1, [schema.PublishingError(each, 16) for each in ids])


def _written(frame: schema.Frame, response: bool) -> bytes:
    data = bytearray(encode_frame(frame))
    data[4] |= 0x80 if response else 0
    return bytes(data)


def _read(data: bytes) -> schema.Frame:
    """rstream writes subscriptions and reads none."""
    if int.from_bytes(data[:2], "big") != schema.Subscribe.key.value:
        return decode_frame(data)
    number, subscription, length = struct.unpack_from(">IBH", data, 4)
    stream = data[11 : 11 + length].decode()
    kind, offset, credit = struct.unpack_from(">HQH", data, 11 + length)
    begin = schema.OffsetSpecOffset(OffsetType(kind), offset)
    return schema.Subscribe(number, subscription, stream, begin, credit, [])


@contextmanager
def nodes() -> Iterator[list[Node]]:
    """Three, of which the first leads."""
    cluster: list[Node] = []
    with ExitStack() as stack:
        for _ in range(3):
            cluster.append(Node(cluster))
            stack.callback(cluster[-1].stop)
        yield cluster
