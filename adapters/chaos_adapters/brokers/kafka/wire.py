"""Kafka's protocol where librdkafka cannot help: asking one broker, whatever the others do.

librdkafka chooses the broker that it asks for metadata, and waits for seconds for one that is
frozen; and it has no DescribeQuorum, which alone names the active controller of a KRaft cluster
(the "controller" of its describe_cluster is any broker that is alive). Requests and answers are
encoded by kio, whose code is generated from Kafka's own message schemas.
"""

from __future__ import annotations

import io
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from kio.schema.describe_quorum.v1.request import DescribeQuorumRequest, PartitionData, TopicData
from kio.schema.describe_quorum.v1.response import DescribeQuorumResponse
from kio.schema.errors import ErrorCode
from kio.schema.metadata.v12.request import MetadataRequest, MetadataRequestTopic
from kio.schema.metadata.v12.response import MetadataResponse
from kio.schema.types import BrokerId, TopicName
from kio.serial import entity_reader, entity_writer
from kio.serial.errors import SerialError
from kio.static.primitive import i32

from chaos.errors import ClusterError
from chaos.spi import Address

Answer = TypeVar("Answer")

_CORRELATION = 7
_MAX_ANSWER = 1 << 24
_READ_SIZE = 1 << 16
_RETRY_S = 0.1
"""A broker that refuses connections is tried again so much later."""
_SILENT_MS = 1500
_SILENT_S = 2.0
"""A question without an answer is asked again on a new connection: a machine that lost its power
never closes the old one."""


class Question(Generic[Answer]):
    """A request as it goes over the wire, and how to read its answer."""

    def __init__(self, request: Any, answer: type[Answer]) -> None:  # noqa: ANN401 - any of kio's
        content = io.BytesIO()
        header = request.__header_schema__(
            request_api_key=request.__api_key__, request_api_version=request.__version__,
            correlation_id=i32(_CORRELATION), client_id="mqchaos",
        )  # fmt: skip
        entity_writer(type(header))(content, header)
        entity_writer(type(request))(content, request)
        size = content.tell()
        self.frame = struct.pack(">i", size) + content.getvalue()
        kind: Any = answer
        self._read_header = entity_reader(kind.__header_schema__)
        self._read: Callable[[bytes, int], tuple[Answer, int]] = entity_reader(kind)

    def read(self, content: bytes) -> Answer:
        """The answer in a frame. Raises ValueError when it is none."""
        try:
            _, start = self._read_header(content, 0)
            return self._read(content, start)[0]
        except SerialError as error:
            raise ValueError(f"not an answer: {error}") from error


def metadata(topic: str) -> Question[MetadataResponse]:
    """Brokers, and leaders and in-sync sets of one topic, as the asked broker knows them.

    Version 12 is known to every broker since 3.1.
    """
    asked = MetadataRequestTopic(topic_id=None, name=TopicName(topic))
    request = MetadataRequest(
        topics=(asked,), allow_auto_topic_creation=False, include_topic_authorized_operations=False
    )
    return Question(request, MetadataResponse)


def describe_quorum() -> Question[DescribeQuorumResponse]:
    """The active controller; the asked broker hands the question on to it."""
    partition = PartitionData(partition_index=i32(0))
    topic = TopicData(topic_name=TopicName("__cluster_metadata"), partitions=(partition,))
    return Question(DescribeQuorumRequest(topics=(topic,)), DescribeQuorumResponse)


def controller(answer: DescribeQuorumResponse) -> tuple[int, int] | None:
    """Epoch and node id of the active controller; None when the answer names none."""
    for topic in answer.topics:
        for partition in topic.partitions:
            if partition.error_code is ErrorCode.none and partition.leader_id >= 0:
                return int(partition.leader_epoch), int(partition.leader_id)
    return None


def silent(answer: DescribeQuorumResponse, identities: Iterable[int]) -> list[int]:
    """Those of the nodes that do not vote, or have not asked the active controller for news lately.

    A controller asks at least every 0.5 s, as the active one lets no request wait for longer. Of
    itself the active one says that it asked just now, so the answer holds its clock.
    """
    voters = answer.topics[0].partitions[0].current_voters
    asked_ms = {voter.replica_id: voter.last_fetch_timestamp for voter in voters}
    now_ms = max(asked_ms.values(), default=0)
    return [
        each
        for each in identities
        if each not in asked_ms or now_ms - asked_ms[BrokerId(each)] > _SILENT_MS
    ]


class Line(Generic[Answer]):
    """A connection to one broker for one question, which is asked again and again; never blocks.

    At most one question is open. Whoever holds the line polls `interest` and calls `turn`.
    """

    def __init__(self, address: Address, question: Question[Answer]) -> None:
        self.waiting = False
        self._address, self._question = address, question
        self._socket: socket.socket | None = None
        self._asked_at, self._tried_at = 0.0, 0.0
        self._unsent, self._content = b"", b""

    def ask(self, now: float) -> bool:
        """Ask, connecting first where that is needed; False: an old question is still open, or the
        broker refused a moment ago. `now` is a `time.monotonic`."""
        if self.waiting and now < self._asked_at + _SILENT_S:
            return False
        if self.waiting:
            self.close()
        if not self._socket and not self._connect(now):
            return False
        self.waiting, self._asked_at = True, now
        self._unsent, self._content = self._question.frame, b""
        self._send()
        return self.waiting

    @property
    def interest(self) -> tuple[int, int]:
        """The file descriptor and what to wait for on it; only while `waiting`."""
        assert self._socket
        return self._socket.fileno(), select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def turn(self) -> Answer | None:
        """Send and receive what can be now; the answer when it is whole. A connection that broke
        or made no sense is closed and no longer `waiting`."""
        self._send()
        try:
            if not self._socket or not self._receive():
                return None
            self.waiting = False
            return self._question.read(self._content[4:])
        except BlockingIOError:
            return None
        except (OSError, ValueError):
            self.close()
            return None

    def close(self) -> None:
        """Give the socket back; `ask` makes a new one."""
        if self._socket:
            self._socket.close()
        self._socket, self.waiting = None, False

    def _connect(self, now: float) -> bool:
        if now < self._tried_at + _RETRY_S:
            return False
        self._tried_at = now
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex((self._address.host, self._address.port))
        return True

    def _send(self) -> None:
        if not self._unsent or not self._socket:
            return
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _receive(self) -> bool:
        """Whether the answer is whole."""
        assert self._socket
        part = self._socket.recv(_READ_SIZE)
        if not part:
            raise ConnectionError("closed by the broker")
        self._content += part
        if len(self._content) < 4:
            return False
        size = int.from_bytes(self._content[:4], "big", signed=True)
        if not 0 < size <= _MAX_ANSWER:
            raise ValueError(f"an answer of {size} bytes")
        return len(self._content) >= 4 + size


def turn(lines: Sequence[Line[Answer]], timeout_s: float) -> list[tuple[int, Answer]]:
    """Wait for answers on the lines that wait for one: at the first sign, those that are whole,
    each with the place of its line."""
    poll, places = select.poll(), {}
    for place, line in enumerate(lines):
        if line.waiting:
            descriptor, interest = line.interest
            places[descriptor] = place
            poll.register(descriptor, interest)
    found = []
    for descriptor, _ in poll.poll(max(0.0, timeout_s) * 1000):
        answer = lines[places[descriptor]].turn()
        if answer is not None:
            found.append((places[descriptor], answer))
    return found


def ask(address: Address, question: Question[Answer], timeout_s: float) -> Answer:
    """Ask one broker once. Raises ClusterError when it does not answer in time."""
    deadline = time.monotonic() + timeout_s
    line = Line(address, question)
    try:
        line.ask(time.monotonic())
        while line.waiting and (left_s := deadline - time.monotonic()) > 0:
            for _, answer in turn([line], left_s):
                return answer
    finally:
        line.close()
    raise ClusterError(f"{address} does not answer")
