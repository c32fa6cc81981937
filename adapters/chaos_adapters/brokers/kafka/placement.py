"""Where replicas are and who leads them: looked at, moved, elected.

librdkafka has no AlterPartitionReassignments (api key 45), so it goes over a line of our own. Any
broker takes it, and hands it on to the active controller.
"""

from __future__ import annotations

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
from kio.static.primitive import i32

from chaos.errors import ClusterError
from chaos.spi import Address, Placement
from chaos_adapters.brokers.kafka.admin import Admin
from chaos_adapters.brokers.kafka.topology import node_id, node_name
from chaos_adapters.brokers.kafka.wire import Question, ask


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
    question = Question(_request(wanted), AlterPartitionReassignmentsResponse)
    deadline, problems = time.monotonic() + timeout_s, []
    for address in clients.values():
        left_s = max(deadline - time.monotonic(), 0.0) / 2
        try:
            answer = ask(address, question, left_s)
        except ClusterError as error:
            problems.append(str(error))
        else:
            _check(answer)
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
