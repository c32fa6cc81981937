"""Where replicas are and who leads them: looked at, moved, elected.

librdkafka has no AlterPartitionReassignments (api key 45), so it goes over a plain socket, encoded
by kio, whose code is generated from Kafka's own message schemas. Any broker takes it, and hands it
on to the active controller.
"""

from __future__ import annotations

import io
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from confluent_kafka import ElectionType, KafkaError, TopicPartition
from kio.schema.alter_partition_reassignments.v0.request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from kio.schema.alter_partition_reassignments.v0.response import AlterPartitionReassignmentsResponse
from kio.schema.errors import ErrorCode
from kio.schema.types import BrokerId, TopicName
from kio.serial import entity_reader, entity_writer
from kio.serial.errors import SerialError
from kio.static.primitive import i32

from chaos.errors import ClusterError
from chaos.spi import Address, Placement
from chaos_adapters.brokers.kafka.admin import Admin
from chaos_adapters.brokers.kafka.topology import node_id, node_name

_CORRELATION = 45


def partition_name(topic: str, number: int) -> str:
    """As Kafka itself writes it: `chaos-3`."""
    return f"{topic}-{number}"


def _split(name: str) -> tuple[str, int]:
    topic, _, number = name.rpartition("-")
    return topic, int(number)


def placement(
    clients: Mapping[str, Address], names: Sequence[str], timeout_s: float
) -> Mapping[str, Placement]:
    """See spi.MovesReplicas."""
    topics = Admin(clients).metadata(timeout_s).topics
    found = {}
    for name in names:
        topic, number = _split(name)
        if topic not in topics or number not in topics[topic].partitions:
            raise ClusterError(f"Kafka does not know partition {name}")
        about = topics[topic].partitions[number]
        in_sync = tuple(node_name(identity) for identity in sorted(about.isrs))
        found[name] = Placement(tuple(map(node_name, about.replicas)), in_sync)
    return found


def move(
    clients: Mapping[str, Address], wanted: Mapping[str, Sequence[str]], timeout_s: float
) -> None:
    """See spi.MovesReplicas."""
    request = _request(wanted)
    deadline, problems = time.monotonic() + timeout_s, []
    for address in clients.values():
        left_s = max(deadline - time.monotonic(), 0.0) / 2
        try:
            _check(_ask(address, request, left_s))
        except OSError as error:
            problems.append(f"{address}: {error}")
        else:
            return
    raise ClusterError(f"no broker takes a reassignment: {'; '.join(problems)}")


def elect(clients: Mapping[str, Address], topic: str, partitions: int) -> Mapping[int, str]:
    """See spi.ElectsLeaders."""
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    found = Admin(clients).elect(ElectionType.PREFERRED, wanted)
    return {
        partition.partition: "" if error is None else error.str()
        for partition, error in found.items()
        if error is None or error.code() != KafkaError.ELECTION_NOT_NEEDED
    }


def _request(wanted: Mapping[str, Sequence[str]]) -> AlterPartitionReassignmentsRequest:
    topics: dict[str, list[ReassignablePartition]] = defaultdict(list)
    for name, nodes in wanted.items():
        topic, number = _split(name)
        replicas = tuple(BrokerId(node_id(node)) for node in nodes)
        topics[topic].append(ReassignablePartition(partition_index=i32(number), replicas=replicas))
    return AlterPartitionReassignmentsRequest(
        topics=tuple(
            ReassignableTopic(name=TopicName(topic), partitions=tuple(partitions))
            for topic, partitions in topics.items()
        )
    )


def _check(answer: AlterPartitionReassignmentsResponse) -> None:
    refused = [
        f"{partition_name(topic.name, partition.partition_index)}: "
        f"{partition.error_message or partition.error_code.name}"
        for topic in answer.responses
        for partition in topic.partitions
        if partition.error_code is not ErrorCode.none
    ]
    if answer.error_code is not ErrorCode.none:
        refused.append(answer.error_message or answer.error_code.name)
    if refused:
        raise ClusterError(f"Kafka refuses to move replicas: {'; '.join(refused)}")


def _ask(
    address: Address, request: AlterPartitionReassignmentsRequest, timeout_s: float
) -> AlterPartitionReassignmentsResponse:
    """Ask one broker. Raises OSError when it does not answer in time or makes no sense."""
    content = io.BytesIO()
    header = request.__header_schema__(
        request_api_key=request.__api_key__, request_api_version=request.__version__,
        correlation_id=i32(_CORRELATION), client_id="mqchaos",
    )  # fmt: skip
    entity_writer(type(header))(content, header)
    entity_writer(type(request))(content, request)
    with socket.create_connection((address.host, address.port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(struct.pack(">i", content.tell()) + content.getvalue())
        with connection.makefile("rb") as stream:
            (size,) = struct.unpack(">i", _exactly(stream, 4))
            answer = _exactly(stream, size)
    kind = AlterPartitionReassignmentsResponse
    try:
        _, start = entity_reader(kind.__header_schema__)(answer, 0)
        return entity_reader(kind)(answer, start)[0]
    except SerialError as error:
        raise OSError(f"not an answer: {error}") from error


def _exactly(stream: io.BufferedReader, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise OSError("the broker closed the connection")
    return content
