"""What a test message looks like on the wire, so that whoever reads it knows whether it is right.

    offset  size  field
         0     4  magic, b"mqc1"
         4     4  producer number
         8     8  run (a random number, the same in all messages of a run)
        16     8  sequence number, dense from 0 for each producer
        24     8  due time, ns on the run's clock
        32     8  send time, ns on the run's clock
        40     4  length of the whole message
        44     4  kind (chaos.spi.Kind): what it does to the application that handles it
        48     -  padding, a pattern that depends on the position only
      last     4  CRC-32 of all before

All numbers are little-endian. As the CRC-32 of a message that ends in its own CRC-32 is a constant,
checking one needs no slicing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter

import numpy as np
from isal.isal_zlib import crc32  # the one of zlib, seven times as fast
from numpy.typing import NDArray

MAGIC = b"mqc1"
HEADER = np.dtype([
    ("magic", "S4"), ("producer", "<i4"), ("run", "<u8"), ("sequence", "<i8"),
    ("due_ns", "<i8"), ("sent_ns", "<i8"), ("length", "<u4"), ("kind", "<u4"),
])  # fmt: skip
CRC_SIZE = 4
_KIND = itemgetter(slice(44, 48))
_NORMAL = {b"\0\0\0\0"}
SMALLEST = HEADER.itemsize + CRC_SIZE
_RESIDUE = 0x2144DF1C  # crc32(m + crc32(m)) for every m, see e.g. RFC 1952 and IEEE 802.3 §3.2.9


@cache
def _layout(size: int) -> NDArray[np.uint8]:
    """One message of `size` bytes with everything that does not vary filled in."""
    head = np.zeros(1, HEADER)
    head["magic"], head["length"] = MAGIC, size
    padding = (np.arange(size - HEADER.itemsize) % 251).astype(np.uint8)
    return np.concatenate([head.view(np.uint8), padding])


def encode(
    run: int,
    producer: int,
    first: int,
    due_ns: NDArray[np.int64],
    sent_ns: int,
    size: int,
    kinds: NDArray[np.uint32] | None = None,
) -> list[bytes]:
    """Messages number `first` and following, one for each due time; each of `size` bytes, and all
    normal ones unless `kinds` says otherwise."""
    count = len(due_ns)
    block = np.empty((count, size), np.uint8)
    block[:] = _layout(size)
    heads = np.ndarray((count,), HEADER, block, strides=(size,))
    heads["run"], heads["producer"], heads["sent_ns"] = run, producer, sent_ns
    heads["sequence"] = np.arange(first, first + count)
    heads["due_ns"] = due_ns
    if kinds is not None:
        heads["kind"] = kinds
    sums = np.ndarray((count,), "<u4", block, size - CRC_SIZE, (size,))
    sums[:] = np.fromiter(map(crc32, _rows(block, size - CRC_SIZE)), np.uint32, count)
    return _rows(block, size)


def _rows(block: NDArray[np.uint8], size: int) -> list[bytes]:
    """The first `size` bytes of each row."""
    # What numpy calls void is bytes to Python, all of them in one go.
    void = np.ndarray((len(block),), f"V{size}", block, strides=block.strides[:1])
    rows: list[bytes] = void.tolist()
    return rows


@dataclass(frozen=True)
class Decoded:
    """Columns, one row a body. Where `ours` is False the other columns mean nothing."""

    ours: NDArray[np.bool_]
    """It starts with the header of this run."""
    intact: NDArray[np.bool_]
    """It is ours, as long as it says and its CRC is right."""
    producer: NDArray[np.int64]
    sequence: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    kind: NDArray[np.int64]


def decode(run: int, bodies: Sequence[bytes]) -> Decoded:
    """Read what `encode` wrote; a foreign, torn or damaged body is told, never raised."""
    count, head = len(bodies), HEADER.itemsize
    raw = b"".join([body[:head] for body in bodies])
    if len(raw) != count * head:
        raw = b"".join([body[:head].ljust(head, b"\0") for body in bodies])
    fields = np.frombuffer(raw, HEADER)
    lengths = np.fromiter(map(len, bodies), np.int64, count)
    ours = (fields["magic"] == MAGIC) & (fields["run"] == run)
    whole = np.fromiter(map(crc32, bodies), np.uint32, count) == _RESIDUE
    intact = ours & whole & (fields["length"] == lengths)

    def column(name: str) -> NDArray[np.int64]:
        return np.where(ours, fields[name].astype(np.int64), -1)

    return Decoded(
        ours, intact, column("producer"), column("sequence"), column("due_ns"), column("sent_ns"),
        np.where(intact, fields["kind"].astype(np.int64), 0),
    )  # fmt: skip


def any_odd(bodies: Sequence[bytes]) -> bool:
    """Whether some of them may not be normal; some 50 ns a message, and never wrong about a
    poisoned one."""
    return not set(map(_KIND, bodies)) <= _NORMAL


def key(number: int) -> bytes:
    """The key with this number, as it stands on the wire."""
    return b"key-%d" % number


def keys(first: int, count: int, distinct: int) -> Sequence[bytes | None]:
    """The keys of messages number `first` and following; none at all when `distinct` is 0."""
    if not distinct:
        return [None] * count
    start = first % distinct
    return _key_table(distinct, 1 - -count // distinct)[start : start + count]


@cache
def _key_table(distinct: int, rounds: int) -> list[bytes]:
    """All keys in order, so many times over."""
    return [key(number) for number in range(distinct)] * rounds
