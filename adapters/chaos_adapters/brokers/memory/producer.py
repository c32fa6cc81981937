"""The producer: sends batches as fast as nodes take them and never sends anything twice."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from zlib import crc32

from chaos.spi import Address, Outcome, SendSink
from chaos.timing import now_ns
from chaos_adapters.brokers.memory.client import GREETING, LOST, Connection, connect_all, exchange
from chaos_adapters.brokers.memory.mischief import REFUSED
from chaos_adapters.brokers.memory.wire import Head, pack

BATCH_MESSAGES = 1000
BATCH_BYTES = 4 << 20


@dataclass
class _Waiting:
    """A message that was not yet written to a socket."""

    sequence: int
    body: bytes
    deadline: float


@dataclass
class _Batch:
    """Messages that were written in one request; a sequence number is None once it was answered."""

    partition: int
    sequences: list[int | None]
    deadline: float


@dataclass
class _Lane:
    """The way to one node, and the partitions that it has."""

    connection: Connection
    queues: dict[int, deque[_Waiting]] = field(default_factory=dict)
    batches: dict[int, _Batch] = field(default_factory=dict)


class MemoryProducer:
    """`send` and `poll` may be called from two threads; sockets are used in `poll` only.

    A message that was not answered `timeout_s` after `send` has failed: for certain if it was never
    written to a socket, otherwise its fate is unknown, as it is when its connection breaks.
    """

    def __init__(
        self,
        clients: Mapping[str, Address],
        stream: str,
        owners: Sequence[str],
        sink: SendSink,
        timeout_s: float,
        most_open: int,
    ) -> None:
        """`owners` is the node of each partition. Raises ClusterError when no node answers."""
        self._stream, self._sink = stream, sink
        self._timeout_s, self._most_open = timeout_s, most_open
        self._sent = self._done = 0
        self._requests = count(GREETING + 1)
        lanes = {node: _Lane(Connection(clients[node], {"op": "ping"})) for node in clients}
        connect_all({node: lane.connection for node, lane in lanes.items()}, timeout_s)
        self._lanes = {lane.connection: lane for lane in lanes.values()}
        self._queues: list[deque[_Waiting]] = []
        for partition, node in enumerate(owners):
            self._queues.append(lanes[node].queues.setdefault(partition, deque()))
        self._wake, self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), False
        self._polling, self._closed = threading.Lock(), False

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """Queue messages for the next `poll`; a key decides about the partition."""
        taken = max(0, min(len(bodies), self._most_open - (self._sent - self._done)))
        deadline = time.monotonic() + self._timeout_s
        for sequence, key, body in zip(range(first, first + taken), keys, bodies, strict=False):
            number = sequence if key is None else crc32(key)
            queue = self._queues[number % len(self._queues)]
            queue.append(_Waiting(sequence, body, deadline))
        self._sent += taken
        if taken and not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)
        return taken

    def poll(self, timeout_s: float) -> None:
        """Write what is queued, read what was answered, and give up on what took too long."""
        with self._polling:
            if self._closed:
                return
            self._sleep_again()
            for lane in self._lanes.values():
                self._write(lane)
            wait_s = min(timeout_s, self._timeout_s / 10)
            for connection, head, _ in exchange(list(self._lanes), wait_s, self._wake):
                lane = self._lanes[connection]
                if head is LOST:
                    self._lost(lane)
                elif head["id"] != GREETING:
                    self._answered(lane, head)
            self._expire(time.monotonic())

    def close(self, timeout_s: float) -> None:
        """Poll until nothing is open or the time is over, and disconnect."""
        deadline = time.monotonic() + timeout_s
        while self._sent > self._done and (left_s := deadline - time.monotonic()) > 0:
            self.poll(min(left_s, 0.1))
        with self._polling:
            if not self._closed:
                self._closed = self._woken = True
                os.close(self._wake)
                for connection in self._lanes:
                    connection.close()

    def _sleep_again(self) -> None:
        # In this order: what is queued after the last line sets off a wake-up of its own, and what
        # was queued before is written now.
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._woken = False

    def _write(self, lane: _Lane) -> None:
        for partition, queue in lane.queues.items():
            if queue and lane.connection.up and lane.connection.flushed:
                self._write_batch(lane, partition, queue)

    def _write_batch(self, lane: _Lane, partition: int, queue: deque[_Waiting]) -> None:
        batch: list[_Waiting] = []
        size = 0
        while queue and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
            batch.append(queue.popleft())
            size += len(batch[-1].body)
        request = next(self._requests)
        lane.batches[request] = _Batch(
            partition, [waiting.sequence for waiting in batch], batch[-1].deadline
        )
        head = {
            "op": "produce", "id": request, "stream": self._stream, "partition": partition,
            "lengths": [len(waiting.body) for waiting in batch],
        }  # fmt: skip
        lane.connection.write(pack(head, b"".join([waiting.body for waiting in batch])))

    def _answered(self, lane: _Lane, head: Head) -> None:
        batch = lane.batches.get(head["id"])
        if batch is None:
            return  # it was given up already
        now = now_ns()
        if "error" in head:
            del lane.batches[head["id"]]
            self._fail(batch, Outcome.REFUSED, head["error"])
            return
        sequences, offsets = [], []
        for index, offset in enumerate(head["answers"]):
            sequence = batch.sequences[index]
            if offset is None or sequence is None:
                continue
            batch.sequences[index] = None
            self._done += 1
            if offset == REFUSED:
                self._sink.failed(sequence, batch.partition, now, Outcome.REFUSED, "refused")
            else:
                sequences.append(sequence)
                offsets.append(offset)
        if sequences:
            self._sink.acknowledged(sequences, [batch.partition] * len(sequences), offsets, now)
        if not any(sequence is not None for sequence in batch.sequences):
            del lane.batches[head["id"]]

    def _lost(self, lane: _Lane) -> None:
        batches, lane.batches = lane.batches, {}
        for batch in batches.values():
            self._fail(batch, Outcome.INDETERMINATE, "the connection broke")

    def _expire(self, now: float) -> None:
        for lane in self._lanes.values():
            while lane.batches:
                request, batch = next(iter(lane.batches.items()))
                if batch.deadline > now:
                    break
                del lane.batches[request]
                self._fail(batch, Outcome.INDETERMINATE, f"no answer in {self._timeout_s:g} s")
            for partition, queue in lane.queues.items():
                while queue and queue[0].deadline <= now:
                    never = _Batch(partition, [queue.popleft().sequence], now)
                    self._fail(never, Outcome.REFUSED, f"not sent in {self._timeout_s:g} s")

    def _fail(self, batch: _Batch, outcome: Outcome, reason: str) -> None:
        now = now_ns()
        for sequence in batch.sequences:
            if sequence is not None:
                self._done += 1
                self._sink.failed(sequence, batch.partition, now, outcome, reason)
