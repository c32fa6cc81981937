"""Reads a topic with the plain client and decodes messages by hand: shares no code with mqchaos."""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    TopicPartition,
)


def stored(run_directory: Path, partitions: int) -> set[tuple[int, int]]:
    """(producer, sequence) of all that the topic of a run holds now."""
    about = json.loads((run_directory / "workers.json").read_text())
    bootstrap = ",".join(f"{host}:{port}" for host, port, *_ in about["clients"].values())
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "independent", "enable.auto.commit": False,
    })  # fmt: skip
    try:
        found: set[tuple[int, int]] = set()
        for number in range(partitions):
            partition = TopicPartition(about["stream"], number, OFFSET_BEGINNING)
            _, end = consumer.get_watermark_offsets(partition, timeout=30)
            consumer.assign([partition])
            offset = 0
            while offset < end:
                message = consumer.poll(30)
                assert message is not None, f"partition {number} stops at {offset} of {end}"
                assert message.error() is None, message.error()
                found.add(_identity(message.value()))
                offset = message.offset() + 1
        return found
    finally:
        consumer.close()


def appended(run_directory: Path, topic: str, number: int) -> dict[int, int]:
    """By offset, the time in ms at which each message of a partition was appended by its leader."""
    about = json.loads((run_directory / "workers.json").read_text())
    bootstrap = ",".join(f"{host}:{port}" for host, port, *_ in about["clients"].values())
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "independent", "enable.auto.commit": False,
    })  # fmt: skip
    try:
        partition = TopicPartition(topic, number, OFFSET_BEGINNING)
        _, end = consumer.get_watermark_offsets(partition, timeout=30)
        consumer.assign([partition])
        found: dict[int, int] = {}
        while max(found, default=-1) < end - 1:
            message = consumer.poll(30)
            assert message is not None, f"partition {number} stops at {len(found)} of {end}"
            assert message.error() is None, message.error()
            kind, time_ms = message.timestamp()
            assert kind == TIMESTAMP_LOG_APPEND_TIME
            found[message.offset()] = time_ms
        return found
    finally:
        consumer.close()


def _identity(body: bytes) -> tuple[int, int]:
    magic, producer, _, sequence = struct.unpack_from("<4sIQq", body)
    assert magic == b"mqc1"
    assert zlib.crc32(body[:-4]) == struct.unpack("<I", body[-4:])[0]
    return producer, sequence


def acknowledged(run_directory: Path) -> set[tuple[int, int]]:
    """(producer, sequence) of all sends on record as acknowledged."""
    return {(producer, sequence) for producer, sequence, _, _ in _acknowledged(run_directory)}


def acknowledged_twice(run_directory: Path) -> set[tuple[int, int]]:
    """(partition, offset) of the positions at which more than one send was acknowledged."""
    times = Counter((partition, offset) for _, _, partition, offset in _acknowledged(run_directory))
    return {place for place, count in times.items() if count > 1}


def _acknowledged(run_directory: Path) -> Iterator[tuple[int, int, int, int]]:
    """Producer, sequence, partition, offset."""
    for path in (run_directory / "history").glob("producer-*.sends.arrow"):
        producer = int(path.name.split(".")[0].removeprefix("producer-"))
        table: Any = pa.ipc.open_stream(path).read_all()
        names = ("outcome", "sequence", "partition", "offset")
        for outcome, *rest in zip(*(table[name].to_pylist() for name in names), strict=True):
            if outcome == 1:
                yield producer, *rest
