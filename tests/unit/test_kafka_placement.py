"""Moving Kafka's replicas: what goes over the wire, and which answer means what."""

from __future__ import annotations

import io
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from kio.schema.alter_partition_reassignments.v0.request import AlterPartitionReassignmentsRequest
from kio.schema.alter_partition_reassignments.v0.response import (
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from kio.schema.errors import ErrorCode
from kio.schema.types import TopicName
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import i32, i32Timedelta

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos_adapters.brokers.kafka import placement

WANTED = {"chaos-a-b-0": ["kafka-1", "kafka-3"], "chaos-a-b-2": ["kafka-3"]}
"""A topic's name may have hyphens itself."""


@contextmanager
def broker(answer: bytes) -> Iterator[tuple[Address, list[Any]]]:
    """Listens, notes every request, and answers each with the same bytes."""
    requests: list[Any] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (size,) = struct.unpack(">i", self.rfile.read(4))
            content = self.rfile.read(size)
            kind = AlterPartitionReassignmentsRequest
            _, start = entity_reader(kind.__header_schema__)(content, 0)
            requests.append(entity_reader(kind)(content, start)[0])
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Address(*server.server_address), requests
        server.shutdown()


def answer(code: ErrorCode = ErrorCode.none, message: str | None = None) -> bytes:
    """What a broker says; `code` is that of partition 2."""
    partition = ReassignablePartitionResponse(
        partition_index=i32(2), error_code=code, error_message=message
    )
    response = AlterPartitionReassignmentsResponse(
        throttle_time=i32Timedelta.parse(timedelta()), error_code=ErrorCode.none,
        error_message=None,
        responses=(
            ReassignableTopicResponse(name=TopicName("chaos-a-b"), partitions=(partition,)),
        ),
    )  # fmt: skip
    content = io.BytesIO()
    header = response.__header_schema__(correlation_id=i32(45))
    entity_writer(type(header))(content, header)
    entity_writer(type(response))(content, response)
    return struct.pack(">i", content.tell()) + content.getvalue()


def test_a_move_names_every_partition_with_its_new_replicas() -> None:
    """By topic, number and node ids, in the wanted order."""
    with broker(answer()) as (address, requests):
        placement.move({"kafka-1": address}, WANTED, 5)
    (request,) = requests
    (topic,) = request.topics
    assert topic.name == "chaos-a-b"
    assert {p.partition_index: p.replicas for p in topic.partitions} == {0: (1, 3), 2: (3,)}


def test_a_broker_that_does_not_answer_is_passed_over() -> None:
    """It may be the one whose replicas are moved."""
    with broker(answer()) as (address, requests):
        dead = Address("127.0.0.1", 1)
        placement.move({"kafka-1": dead, "kafka-2": address}, WANTED, 5)
    assert len(requests) == 1


@pytest.mark.parametrize("said", [b"", struct.pack(">i", 4) + b"oops"])
def test_no_answer_and_nonsense_are_errors(said: bytes) -> None:
    """Each broker with its reason; the move may or may not be on its way."""
    with (
        broker(said) as (address, _),
        pytest.raises(ClusterError, match=f"no broker takes a reassignment: {address} "),
    ):
        placement.move({"kafka-1": address}, WANTED, 5)


def test_a_refused_move_is_told_with_kafkas_own_reason() -> None:
    """And is not tried at the next broker."""
    refusal = answer(ErrorCode.invalid_replica_assignment, "broker 3 is not registered")
    with (
        broker(refusal) as (address, requests),
        pytest.raises(ClusterError, match="chaos-a-b-2: broker 3 is not registered"),
    ):
        placement.move({"kafka-1": address, "kafka-2": address}, WANTED, 5)
    assert len(requests) == 1


def test_only_an_orderly_end_is_taken_for_one() -> None:
    """After the last SIGTERM the broker let go of all requests; an earlier life does not count."""
    from chaos_adapters.brokers.kafka import Kafka

    heard, gone = (
        "Terminating process due to signal SIGTERM",
        "Request Handler shut down completely",
    )
    tell = Kafka().ended_in_order
    assert tell(["INFO started", heard, "INFO shutting down", gone])
    assert not tell(["INFO started"])
    assert not tell([heard, "INFO shutting down"])
    assert not tell([heard, gone, "INFO started", heard])
    assert not tell([gone])
