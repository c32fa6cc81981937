"""The consumer: a member of its group on every node, with one open fetch each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

from chaos.spi import Address, Deliveries
from chaos.timing import now_ns
from chaos_adapters.brokers.memory.client import (
    GREETING,
    LOST,
    Connection,
    check,
    connect_all,
    exchange,
)
from chaos_adapters.brokers.memory.wire import Head, pack, split

CONNECT_S = 5.0

Offsets = dict[int, int]
"""Partition -> the offset after the last one that is meant."""


@dataclass
class _Lane:
    """The way to one node, and how far its partitions are."""

    node: str
    connection: Connection
    fetching: bool = False
    received: Offsets = field(default_factory=dict)
    settled: Offsets = field(default_factory=dict)
    settling: dict[int, Offsets] = field(default_factory=dict)
    """By request: what the node was told and did not yet confirm."""


class MemoryConsumer:
    """Receives from the nodes that are up; what comes from one node keeps its order.

    A node sends from where the group had settled, and gives a member's partitions to the next one
    when its connection ends. What was received and not settled by then comes again, marked.
    """

    def __init__(
        self,
        clients: Mapping[str, Address],
        stream: str,
        owners: Sequence[str],
        group: str,
        most_fetched: int,
    ) -> None:
        """`owners` is the node of each partition.

        Raises ClusterError when no node answers, or one does not know the stream.
        """
        join: Head = {"op": "join", "stream": stream, "group": group, "member": uuid4().hex}
        lanes = {node: _Lane(node, Connection(clients[node], join)) for node in clients}
        connect_all({node: lane.connection for node, lane in lanes.items()}, CONNECT_S)
        self._lanes = {lane.connection: lane for lane in lanes.values()}
        self._owners = [lanes[node] for node in owners]
        self._most_fetched = most_fetched
        self._requests = count(GREETING + 1)
        self._ready: deque[Deliveries] = deque()

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """The next messages, all of one node; None when none came in time. Raises ClusterError."""
        deadline = time.monotonic() + timeout_s
        while not self._ready:
            left_s = deadline - time.monotonic()
            self._turn(max(0.0, left_s))
            if left_s <= 0:
                break
        return self._hand_over(most) if self._ready else None

    def settle(self) -> None:
        """Everything received so far is done with: nodes that are up are told at once."""
        for lane in self._lanes.values():
            _advance(lane.settled, lane.received)
            lane.received = {}
            self._tell_settled(lane)

    def close(self, timeout_s: float = 2.0) -> None:
        """Settle, wait until the nodes that are up have confirmed, and leave the group."""
        self.settle()
        deadline = time.monotonic() + timeout_s
        while any(lane.settling for lane in self._lanes.values()):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self._turn(left_s)
        for connection in self._lanes:
            connection.close()

    def _turn(self, timeout_s: float) -> None:
        for lane in self._lanes.values():
            if lane.connection.up and not lane.fetching:
                # Settled offsets go first, or a node that was away would send the same again.
                self._tell_settled(lane)
                self._fetch(lane)
        for connection, head, blob in exchange(list(self._lanes), timeout_s):
            lane = self._lanes[connection]
            if head is LOST:
                lane.fetching = False
                for offsets in lane.settling.values():
                    _advance(lane.settled, offsets)
                lane.settling = {}
                continue
            check(lane.node, head)
            lane.settling.pop(head["id"], None)
            if "offsets" in head:
                lane.fetching = False
                self._ready.append(_deliveries(head, blob))

    def _fetch(self, lane: _Lane) -> None:
        lane.fetching = True
        head = {"op": "fetch", "id": next(self._requests), "most": self._most_fetched}
        lane.connection.write(pack(head))

    def _tell_settled(self, lane: _Lane) -> None:
        if lane.settled and lane.connection.up:
            request = next(self._requests)
            offsets, lane.settled = lane.settled, {}
            lane.settling[request] = offsets
            head = {"op": "settle", "id": request, "offsets": list(offsets.items())}
            lane.connection.write(pack(head))

    def _hand_over(self, most: int) -> Deliveries:
        first = self._ready.popleft()
        if len(first.bodies) > most:
            self._ready.appendleft(_part(first, most, len(first.bodies)))
            first = _part(first, 0, most)
        for partition, offset in zip(first.partitions, first.offsets, strict=True):
            _advance(self._owners[partition].received, {partition: offset + 1})
        return first


def _advance(offsets: Offsets, further: Offsets) -> None:
    for partition, offset in further.items():
        offsets[partition] = max(offset, offsets.get(partition, 0))


def _deliveries(head: Head, blob: bytes) -> Deliveries:
    return Deliveries(
        split(blob, head["lengths"]),
        head["partitions"],
        head["offsets"],
        now_ns(),
        head["redelivered"],
    )


def _part(whole: Deliveries, start: int, end: int) -> Deliveries:
    assert whole.redelivered is not None
    return Deliveries(
        whole.bodies[start:end],
        whole.partitions[start:end],
        whole.offsets[start:end],
        whole.received_ns,
        whole.redelivered[start:end],
    )
