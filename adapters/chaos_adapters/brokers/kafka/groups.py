"""Consumer groups as the cluster sees them, through the admin client."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from chaos.errors import ClusterError
from chaos.spi import Address, Group
from chaos_adapters.brokers.kafka.clients import bootstrap

_QUIET = logging.getLogger("chaos.kafka.groups")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class Groups:
    """An admin client that is made when it is first needed."""

    def __init__(self, clients: Mapping[str, Address], topic: str) -> None:
        self._clients, self._topic = clients, topic
        self._client: AdminClient | None = None

    def look(self, name: str, timeout_s: float) -> Group:
        """State, members, and lag of the partitions that have a leader and a committed position.

        Raises ClusterError when the group's coordinator or a leader does not answer in time.
        """
        self._client = self._client or AdminClient(
            # Leaders that it remembers for longer may be dead: then it waits for them in vain.
            {**bootstrap(self._clients), "socket.timeout.ms": 2000, "metadata.max.age.ms": 1000},
            logger=_QUIET,
        )
        client, limit = self._client, {"request_timeout": timeout_s}
        try:
            described = _only(client.describe_consumer_groups([name], **limit))
            asked = [ConsumerGroupTopicPartitions(name)]
            committed = _only(client.list_consumer_group_offsets(asked, **limit)).topic_partitions
            positions = {p.partition: p.offset for p in committed if p.offset >= 0}
            lag = _lag(client, self._topic, positions, limit)
        except (KafkaException, TimeoutError) as error:
            raise ClusterError(f"group {name}: {error.args[0] if error.args else error}") from error
        members = len(described.members)
        return Group(described.state.name.lower(), members, dict(sorted(lag.items())))


def _lag(
    client: AdminClient, topic: str, positions: Mapping[int, int], limit: Mapping[str, Any]
) -> dict[int, int]:
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    ends = {TopicPartition(topic, number): latest for number in positions}
    if not ends:
        return {}
    found = client.list_offsets(ends, **limit)
    return {
        where.partition: max(0, end - positions[where.partition])
        for where, future in found.items()
        if (end := future.result().offset) >= 0
    }


def _only(futures: Mapping[str, Future[Any]]) -> Any:  # noqa: ANN401 - whatever was asked for
    (future,) = futures.values()
    return future.result()
