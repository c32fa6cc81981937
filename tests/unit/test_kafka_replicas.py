"""What a fetch returns is cut into batches, each with a digest of what it really holds."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from chaos.errors import ClusterError
from chaos.spi import Address, Held, PartitionEnd
from chaos_adapters.brokers.kafka import replicas
from chaos_adapters.brokers.kafka.replicas import Batch, batches


def varint(number: int) -> bytes:
    """Zig-zag, as the documentation of the message format has it."""
    rest, found = (number << 1) ^ (number >> 63), b""
    while rest > 0x7F:
        found, rest = found + bytes([rest & 0x7F | 0x80]), rest >> 7
    return found + bytes([rest])


def record(delta: int, value: bytes) -> bytes:
    """One record without key and headers."""
    rest = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(rest)) + rest


def batch(base: int, values: list[bytes], epoch: int = 3, attributes: int = 0) -> bytes:
    """A record batch as it lies on a broker's disk."""
    records = b"".join(record(delta, value) for delta, value in enumerate(values))
    content = struct.pack(
        ">hiqqqhii", attributes, len(values) - 1, 10**12, 10**12, -1, -1, -1, len(values)
    )
    content += records
    head = struct.pack(">ibI", epoch, 2, crc32c(content))
    return struct.pack(">qi", base, len(head) + len(content)) + head + content


def test_batches_are_told_with_their_first_value() -> None:
    """Offsets, epoch, digest (the CRC of a batch that is whole) and the value that comes first."""
    raw = batch(10, [b"one", b"two"]) + batch(12, [b"three"], epoch=4)
    one, three = batches(raw)
    assert (one.first, one.last, one.epoch, one.body) == (10, 11, 3, b"one")
    assert (three.first, three.last, three.epoch, three.body) == (12, 12, 4, b"three")
    assert one.digest == struct.unpack_from(">I", raw, 17)[0]


@pytest.mark.parametrize("attributes", [1, 4, 0x20, 0x30])
def test_compressed_and_control_batches_have_no_value(attributes: int) -> None:
    """They are compared all the same."""
    (found,) = batches(batch(0, [b"x"], attributes=attributes))
    assert found.body == b""
    assert found.digest > 0


@given(cut=st.integers(0, 200))
def test_what_is_not_whole_is_left_for_the_next_fetch(cut: int) -> None:
    """A fetch may end anywhere."""
    raw = batch(0, [b"one"]) + batch(1, [b"two"])
    found = list(batches(raw[:cut]))
    assert len(found) == (cut >= len(raw) // 2) + (cut >= len(raw))


@given(place=st.integers(0, 59), bit=st.integers(0, 7))
def test_any_changed_bit_of_the_content_changes_the_digest(place: int, bit: int) -> None:
    """Though the CRC that the batch bears stays the same; and no damage raises."""
    raw = bytearray(batch(0, [b"some value of ours"]))
    place = 21 + place % (len(raw) - 21)
    (right,) = batches(bytes(raw))
    raw[place] ^= 1 << bit
    (wrong,) = batches(bytes(raw))
    assert wrong.digest != right.digest


class Brokers:
    """Logs by node, which answer in place of the network."""

    def __init__(self, logs: Mapping[str, list[bytes]], silent: tuple[str, ...] = ()) -> None:
        self.logs, self.silent = logs, silent

    def offsets(self, address: Address, topic: str, partitions: int, which: int, _: float) -> Any:
        if address.host in self.silent:
            raise ClusterError("silent")
        return {0: len(self.logs[address.host]) if which == -1 else 0}

    def fetch(self, address: Address, topic: str, partition: int, offset: int, _: float) -> bytes:
        return b"".join(self.logs[address.host][offset : offset + 2])


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    log = [batch(number, [b"%d" % number]) for number in range(5)]
    found = Brokers({"a": log, "b": [*log[:3], batch(3, [b"else"]), log[4]], "c": log[:4]})
    monkeypatch.setattr(replicas, "_offsets", found.offsets)
    monkeypatch.setattr(replicas, "_fetch", found.fetch)
    return found


def read(node: str, timeout_s: float = 5.0) -> tuple[list[Batch], list[PartitionEnd]]:
    """All that a node holds."""
    clients = {name: Address(name, 1) for name in "abc"}
    rows, ends = [], []
    for found in replicas.held(node, clients, "topic", 1, timeout_s):
        if isinstance(found, Held):
            columns = (found.firsts, found.lasts, found.digests, found.epochs, found.bodies)
            rows += [Batch(*row) for row in zip(*columns, strict=True)]
        else:
            ends.append(found)
    return rows, ends


def test_each_node_is_read_to_the_end_of_the_longest_log(brokers: Brokers) -> None:
    """In order, each batch once; the one that differs shows."""
    one, ends = read("a")
    assert [(each.first, each.body) for each in one] == [(n, b"%d" % n) for n in range(5)]
    assert ends == [PartitionEnd(0, 0, 5, 5)]
    other, _ = read("b")
    assert [a.first for a, b in zip(one, other, strict=True) if a.digest != b.digest] == [3]


def test_a_node_that_stays_behind_is_not_read_to_the_end(brokers: Brokers) -> None:
    """It is waited for until the deadline."""
    _, ends = read("c", 0.2)
    assert ends == [PartitionEnd(0, 0, 5, 4)]


def test_a_silent_node_hides_nobody_else(brokers: Brokers) -> None:
    """Its own replica is not told; the others are."""
    brokers.silent = ("b",)
    with pytest.raises(ClusterError):
        read("b")
    assert read("a")[1] == [PartitionEnd(0, 0, 5, 5)]
