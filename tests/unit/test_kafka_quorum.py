"""What follows from the quorum's description; replicas across racks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kio.schema.describe_quorum.v1.response import (
    DescribeQuorumResponse,
    PartitionData,
    ReplicaState,
    TopicData,
)
from kio.schema.errors import ErrorCode
from kio.schema.types import BrokerId, TopicName
from kio.static.primitive import i32, i64

from chaos.errors import ClusterError
from chaos_adapters.brokers.kafka.admin import _demand_spread
from chaos_adapters.brokers.kafka.wire import silent


def answer(voters: dict[int, int]) -> DescribeQuorumResponse:
    """Voters with the time at which each asked the leader for news, in ms; -1: it never did."""
    partition = PartitionData(
        partition_index=i32(0), error_code=ErrorCode.none, leader_id=BrokerId(101),
        leader_epoch=i32(4), high_watermark=i64(99), observers=(),
        current_voters=tuple(
            ReplicaState(
                replica_id=BrokerId(node), log_end_offset=i64(99), last_fetch_timestamp=i64(asked),
            )
            for node, asked in voters.items()
        ),
    )  # fmt: skip
    topic = TopicData(topic_name=TopicName("__cluster_metadata"), partitions=(partition,))
    return DescribeQuorumResponse(error_code=ErrorCode.none, topics=(topic,))


def test_a_controller_that_does_not_ask_for_news_is_silent() -> None:
    """By the leader's clock; one that does not vote at all is, too."""
    quorum = answer({101: 7000, 102: 6600, 103: 3000, 104: -1})
    assert silent(quorum, [101, 102]) == []
    assert silent(quorum, [101, 102, 103, 104, 105]) == [103, 104, 105]


RACKS = {f"kafka-{n}": rack for n, rack in enumerate("abcabc", 1)}


@pytest.mark.parametrize(
    ("replicas", "racks"),
    [((1, 2, 3), RACKS), ((4, 2, 6), RACKS), ((1, 2), RACKS), ((5,), RACKS), ((1, 2, 4), {}),
     ((1, 2, 3, 4), RACKS), ((1, 2, 3), {"kafka-1": "a", "kafka-2": "b", "kafka-3": "a"})],
)  # fmt: skip
def test_replicas_in_as_many_racks_as_can_be_are_spread(
    replicas: tuple[int, ...], racks: dict[str, str]
) -> None:
    """Without racks any brokers will do."""
    _demand_spread({0: SimpleNamespace(replicas=list(replicas))}, racks)


@pytest.mark.parametrize("replicas", [(1, 4), (1, 4, 2)])
def test_two_replicas_in_one_rack_are_told(replicas: tuple[int, ...]) -> None:
    """With the partition, its brokers and their racks."""
    partitions = {
        0: SimpleNamespace(replicas=[1, 2, 3]), 1: SimpleNamespace(replicas=list(replicas)),
    }  # fmt: skip
    with pytest.raises(ClusterError, match=r"partition 1, kafka-1, kafka-4.* only in a"):
        _demand_spread(partitions, RACKS)
