"""DescribeQuorum, and what follows from its answer; replicas across racks."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest

from chaos.errors import ClusterError
from chaos_adapters.brokers.kafka.admin import _demand_spread
from chaos_adapters.brokers.kafka.quorum import CORRELATION, Quorum, Replica, _parse, _Reader


def answer(voters: dict[int, tuple[int, int]], leader: int) -> bytes:
    """DescribeQuorumResponse version 1, written by hand from DescribeQuorumResponse.json."""
    topic = b"__cluster_metadata"
    replicas = b"".join(
        struct.pack(">iqqq", node, end, fetched, fetched) + b"\0"
        for node, (end, fetched) in voters.items()
    )
    partition = struct.pack(">ihiiq", 0, 0, leader, 4, 99)
    partition += bytes([len(voters) + 1]) + replicas + b"\x01" + b"\0"
    body = struct.pack(">h", 0) + b"\x02" + bytes([len(topic) + 1]) + topic
    return struct.pack(">i", CORRELATION) + b"\0" + body + b"\x02" + partition + b"\0\0"


def test_an_answer_is_read_whole() -> None:
    """Every voter with its end and the time of its last fetch."""
    found = _parse(_Reader(answer({101: (99, 7000), 102: (98, 6900), 103: (5, -1)}, 101)))
    assert found == Quorum(
        101, 4, 99, {101: Replica(99, 7000), 102: Replica(98, 6900), 103: Replica(5, -1)}, {}
    )


def test_a_controller_that_does_not_ask_for_news_is_silent() -> None:
    """By the leader's clock; one that does not vote at all is, too."""
    voters = {101: (99, 7000), 102: (99, 6600), 103: (50, 3000), 104: (0, -1)}
    quorum = _parse(_Reader(answer(voters, 101)))
    assert quorum.silent([101, 102]) == []
    assert quorum.silent([101, 102, 103, 104, 105]) == [103, 104, 105]


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
