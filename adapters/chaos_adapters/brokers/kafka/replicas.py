"""What each broker holds of a topic, asked of itself whoever leads.

A follower serves fetches of consumers since KIP-392 (Fetch version 11), up to the high watermark
that it knows, and returns its batches as they are on its disk. How far each log goes, ListOffsets
tells of any replica when the asker says that it is debugging (replica id -2). Source of the layout
of a batch: Kafka documentation, "Message format", record batch, magic 2.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from crc32c import crc32c
from kio.records.readers import read_record
from kio.schema.errors import ErrorCode
from kio.schema.fetch.v11.request import FetchPartition, FetchRequest, FetchTopic
from kio.schema.fetch.v11.response import FetchResponse
from kio.schema.list_offsets.v4.request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from kio.schema.list_offsets.v4.response import ListOffsetsResponse
from kio.schema.types import BrokerId, TopicName
from kio.serial.errors import SerialError
from kio.static.primitive import i8, i32, i32Timedelta, i64

from chaos.errors import ClusterError
from chaos.spi import Address, Held, PartitionEnd
from chaos_adapters.brokers.kafka import wire

_DEBUGGING = BrokerId(-2)
_LATEST, _EARLIEST = i64(-1), i64(-2)
_HEAD = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, epoch, magic, CRC, attributes, last offset delta, ..., number of records."""
_LENGTH_FROM, _CRC_FROM = 12, 21
_COMPRESSION, _CONTROL = 0x07, 0x20
_FETCH_BYTES = 1 << 20
_WAIT = timedelta(milliseconds=100)
_LOOK_S = 3.0


@dataclass(frozen=True)
class Batch:
    """One batch as a broker stores it; `digest` is computed from its content, whatever CRC it
    bears. `body` is the value of its first record, b"" if that cannot be told."""

    first: int
    last: int
    digest: int
    epoch: int
    body: bytes


def batches(raw: bytes) -> Iterator[Batch]:
    """The whole batches in what a fetch returned; it may end in the middle of one."""
    start = 0
    while start + _HEAD.size <= len(raw):
        base, length, epoch, _, _, attributes, delta, timestamp, *_ = _HEAD.unpack_from(raw, start)
        end = start + _LENGTH_FROM + length
        if end > len(raw) or length < _HEAD.size - _LENGTH_FROM:
            return
        content = raw[start + _CRC_FROM : end]
        plain = attributes & (_COMPRESSION | _CONTROL) == 0
        body = _first_value(raw, start + _HEAD.size, timestamp) if plain else b""
        yield Batch(base, base + delta, crc32c(content), epoch, body)
        start = end


def _first_value(raw: bytes, start: int, timestamp: int) -> bytes:
    try:
        record, _ = read_record(raw, i64(timestamp), i64(0), start)
    except (SerialError, ValueError, OverflowError, OSError):
        return b""  # it was damaged, which its digest tells
    return record.value or b""


def held(
    node: str, clients: Mapping[str, Address], topic: str, partitions: int, timeout_s: float
) -> Iterator[Held | PartitionEnd]:
    """See spi.Replicas. Waits until the node's high watermarks have reached the longest log."""
    deadline = time.monotonic() + timeout_s
    address = clients[node]
    firsts = _offsets(address, topic, partitions, _EARLIEST, min(_LOOK_S, timeout_s))
    longest = _longest(clients, topic, partitions)
    for number, first in firsts.items():
        end, read = longest.get(number, first), first
        while read < end and time.monotonic() < deadline:
            raw = _fetch(address, topic, number, read, deadline)
            found = [batch for batch in batches(raw) if batch.last >= read]
            if found:
                yield _held(number, found)
                read = found[-1].last + 1
        yield PartitionEnd(number, first, end, read)


def _held(partition: int, found: Sequence[Batch]) -> Held:
    return Held(
        partition, [batch.first for batch in found], [batch.last for batch in found],
        [batch.digest for batch in found], [batch.epoch for batch in found],
        [batch.body for batch in found],
    )  # fmt: skip


def ends(
    node: str, clients: Mapping[str, Address], topic: str, partitions: int
) -> Iterator[PartitionEnd]:
    """Of replicas that cannot be compared: nothing of them is read, and nothing is missing."""
    for number, end in _offsets(clients[node], topic, partitions, _LATEST, _LOOK_S).items():
        yield PartitionEnd(number, end, end, end)


def _longest(clients: Mapping[str, Address], topic: str, partitions: int) -> dict[int, int]:
    """The end of the longest log of each partition, among the brokers that answer."""
    longest: dict[int, int] = {}
    for address in clients.values():
        try:
            found = _offsets(address, topic, partitions, _LATEST, _LOOK_S)
        except ClusterError:
            continue
        for number, end in found.items():
            longest[number] = max(end, longest.get(number, 0))
    return longest


def _offsets(
    address: Address, topic: str, partitions: int, which: i64, timeout_s: float
) -> dict[int, int]:
    """An end of the log of each partition of which the broker has a replica."""
    asked = tuple(
        ListOffsetsPartition(partition_index=i32(number), timestamp=which)
        for number in range(partitions)
    )
    request = ListOffsetsRequest(
        replica_id=_DEBUGGING, isolation_level=i8(0),
        topics=(ListOffsetsTopic(name=TopicName(topic), partitions=asked),),
    )  # fmt: skip
    answer = wire.ask(address, wire.Question(request, ListOffsetsResponse), timeout_s)
    return {
        int(found.partition_index): int(found.offset)
        for each in answer.topics
        for found in each.partitions
        if found.error_code is ErrorCode.none
    }


def _fetch(address: Address, topic: str, partition: int, offset: int, deadline: float) -> bytes:
    """Batches from an offset on; nothing when there are none (yet). Raises ClusterError."""
    wanted = FetchPartition(
        partition=i32(partition), fetch_offset=i64(offset), partition_max_bytes=i32(_FETCH_BYTES)
    )
    request = FetchRequest(
        max_wait=i32Timedelta.parse(_WAIT), min_bytes=i32(1), max_bytes=i32(_FETCH_BYTES),
        topics=(FetchTopic(topic=TopicName(topic), partitions=(wanted,)),),
        forgotten_topics_data=(),
    )  # fmt: skip
    left_s = max(0.1, deadline - time.monotonic())
    answer = wire.ask(address, wire.Question(request, FetchResponse), left_s)
    found = [data for each in answer.responses for data in each.partitions]
    return b"".join(bytes(data.records or b"") for data in found)
