"""Consumer groups as the cluster sees them.

Not through librdkafka's admin client: with a frozen broker it ended the whole process by an
assertion (`rd_kafka_enq_once_del_source_return`, 2.16), and it remembers leaders that are dead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from kio.schema.consumer_group_describe.v0.request import ConsumerGroupDescribeRequest
from kio.schema.consumer_group_describe.v0.response import ConsumerGroupDescribeResponse
from kio.schema.describe_groups.v5.request import DescribeGroupsRequest
from kio.schema.describe_groups.v5.response import DescribeGroupsResponse
from kio.schema.errors import ErrorCode
from kio.schema.find_coordinator.v4.request import FindCoordinatorRequest
from kio.schema.find_coordinator.v4.response import FindCoordinatorResponse
from kio.schema.list_offsets.v7.request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from kio.schema.list_offsets.v7.response import ListOffsetsResponse
from kio.schema.offset_fetch.v8.request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from kio.schema.offset_fetch.v8.response import OffsetFetchResponse
from kio.schema.types import BrokerId, GroupId, TopicName
from kio.static.primitive import i8, i32, i64

from chaos.errors import ClusterError
from chaos.spi import Address, Group
from chaos_adapters.brokers.kafka.topology import node_name
from chaos_adapters.brokers.kafka.wire import Question, ask

_EACH_S = 0.5
"""A broker that does not answer for so long is asked again at the next look."""
_NONE = "dead"
_LATEST = i64(-1)


class Groups:
    """Asks the group's coordinator, and the leaders for the ends of their partitions."""

    def __init__(self, clients: Mapping[str, Address], topic: str) -> None:
        self._clients, self._topic = clients, topic
        self._coordinator = ""

    def look(self, name: str, leaders: Mapping[int, str | None], timeout_s: float) -> Group:
        """State, members, and lag of the partitions whose leader answers and that have a committed
        position. Raises ClusterError when no coordinator answers in time."""
        deadline = time.monotonic() + timeout_s
        try:
            self._coordinator = self._coordinator or self._find(name, deadline)
            address = self._clients[self._coordinator]
            state, members = _describe(address, name)
            positions = _positions(address, name, self._topic, list(leaders))
        except ClusterError:
            self._coordinator = ""
            raise
        lag: dict[int, int] = {}
        for leader in {leader for leader in leaders.values() if leader}:
            mine = [n for n, who in leaders.items() if who == leader and n in positions]
            if mine and time.monotonic() < deadline:
                ends = _ends(self._clients[leader], self._topic, mine)
                lag.update(
                    {number: max(0, end - positions[number]) for number, end in ends.items()}
                )
        return Group(state, members, dict(sorted(lag.items())))

    def _find(self, name: str, deadline: float) -> str:
        question = Question(
            FindCoordinatorRequest(key_type=i8(0), coordinator_keys=(name,)),
            FindCoordinatorResponse,
        )
        for address in self._clients.values():
            if time.monotonic() >= deadline:
                break
            try:
                (found,) = ask(address, question, _EACH_S).coordinators
            except ClusterError:
                continue
            if found.error_code is ErrorCode.none and node_name(found.node_id) in self._clients:
                return node_name(found.node_id)
        raise ClusterError(f"no broker names the coordinator of group {name}")


def _describe(address: Address, name: str) -> tuple[str, int]:
    """State and number of members, of a group of either protocol."""
    classic = DescribeGroupsRequest(groups=(GroupId(name),), include_authorized_operations=False)
    (old,) = ask(address, Question(classic, DescribeGroupsResponse), _EACH_S).groups
    _check(old.error_code, address)
    if old.group_state.lower() != _NONE:
        return old.group_state.lower(), len(old.members)
    newer = ConsumerGroupDescribeRequest(
        group_ids=(GroupId(name),), include_authorized_operations=False
    )
    (new,) = ask(address, Question(newer, ConsumerGroupDescribeResponse), _EACH_S).groups
    if new.error_code is not ErrorCode.none:
        return _NONE, 0
    return new.group_state.lower(), len(new.members)


def _positions(
    address: Address, name: str, topic: str, partitions: Sequence[int]
) -> dict[int, int]:
    """The committed position of each partition that has one."""
    numbers = tuple(i32(number) for number in partitions)
    wanted = OffsetFetchRequestTopics(name=TopicName(topic), partition_indexes=numbers)
    request = OffsetFetchRequest(
        groups=(OffsetFetchRequestGroup(group_id=GroupId(name), topics=(wanted,)),),
        require_stable=False,
    )
    (group,) = ask(address, Question(request, OffsetFetchResponse), _EACH_S).groups
    _check(group.error_code, address)
    return {
        int(partition.partition_index): int(partition.committed_offset)
        for found in group.topics
        for partition in found.partitions
        if partition.committed_offset >= 0
    }


def _ends(address: Address, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """The high watermark of each partition that this broker leads; empty: it does not answer."""
    wanted = tuple(
        ListOffsetsPartition(
            partition_index=i32(number), current_leader_epoch=i32(-1), timestamp=_LATEST
        )
        for number in partitions
    )
    request = ListOffsetsRequest(
        replica_id=BrokerId(-1), isolation_level=i8(0),
        topics=(ListOffsetsTopic(name=TopicName(topic), partitions=wanted),),
    )  # fmt: skip
    try:
        answer = ask(address, Question(request, ListOffsetsResponse), _EACH_S)
    except ClusterError:
        return {}
    return {
        int(partition.partition_index): int(partition.offset)
        for found in answer.topics
        for partition in found.partitions
        if partition.error_code is ErrorCode.none
    }


def _check(code: ErrorCode, address: Address) -> None:
    if code is not ErrorCode.none:
        raise ClusterError(f"{address} answers: {code.name}")
