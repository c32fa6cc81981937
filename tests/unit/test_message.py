"""Test messages on the wire: what was sent is known again, everything else is told."""

from __future__ import annotations

import zlib

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaos import message
from chaos.message import SMALLEST, decode, encode
from chaos.spi import NUMBER_AT

RUN = 0xFEDC_BA98_7654_3210
runs = st.integers(0, 2**64 - 1)
sizes = st.integers(SMALLEST, 600)
times = st.integers(-(2**63), 2**63 - 1)


def one(size: int = 100, sequence: int = 5, run: int = RUN) -> bytes:
    return encode(run, 3, sequence, np.array([11]), 12, size)[0]


@settings(deadline=None)
@given(
    run=runs,
    producer=st.integers(0, 2**31 - 1),
    first=st.integers(0, 2**62),
    due=st.lists(times, min_size=1, max_size=20),
    sent_ns=times,
    size=sizes,
)
def test_what_is_encoded_is_decoded(
    run: int, producer: int, first: int, due: list[int], sent_ns: int, size: int
) -> None:
    """All fields come back, for every size from the smallest on, one body per due time."""
    bodies = encode(run, producer, first, np.array(due, np.int64), sent_ns, size)
    found = decode(run, bodies)
    assert [len(body) for body in bodies] == [size] * len(due)
    assert found.ours.all()
    assert found.intact.all()
    assert found.producer.tolist() == [producer] * len(due)
    assert found.sequence.tolist() == list(range(first, first + len(due)))
    assert found.due_ns.tolist() == due
    assert found.sent_ns.tolist() == [sent_ns] * len(due)


@settings(deadline=None)
@given(size=sizes, data=st.data())
def test_any_flipped_bit_is_told(size: int, data: st.DataObject) -> None:
    """A body that differs in one bit anywhere is never intact."""
    body = bytearray(one(size))
    bit = data.draw(st.integers(0, 8 * size - 1))
    body[bit // 8] ^= 1 << bit % 8
    assert not decode(RUN, [bytes(body)]).intact[0]


def test_every_flipped_bit_of_the_smallest_and_a_padded_message_is_told() -> None:
    """The same, exhaustively for two sizes."""
    for size in (SMALLEST, SMALLEST + 13):
        whole = int.from_bytes(one(size), "little")
        bodies = [(whole ^ (1 << bit)).to_bytes(size, "little") for bit in range(8 * size)]
        assert not decode(RUN, bodies).intact.any()


@settings(deadline=None)
@given(size=sizes, data=st.data())
def test_a_torn_or_lengthened_body_is_told(size: int, data: st.DataObject) -> None:
    """Whatever is cut off its end or hung on to it, it is not intact."""
    body = one(size)
    torn = body[: data.draw(st.integers(0, size - 1))]
    longer = body + data.draw(st.binary(min_size=1, max_size=9))
    # Its own CRC behind it makes the CRC right again: only the length tells it then.
    forged = torn + zlib.crc32(torn).to_bytes(4, "little")
    twice = body + body
    bodies = [torn, longer, twice, *([forged] if forged != body else [])]
    assert not decode(RUN, bodies).intact.any()


@settings(deadline=None)
@given(bodies=st.lists(st.binary(max_size=200), max_size=20), at=st.integers(0, 20))
@example(bodies=[b"", message.MAGIC, b"\0" * 300], at=1)
def test_foreign_bodies_are_told_and_disturb_no_neighbour(bodies: list[bytes], at: int) -> None:
    """Anything at all may stand in a topic: it is not ours, has -1 everywhere, and what stands
    before and behind it is read as if it were alone."""
    at = min(at, len(bodies))
    found = decode(RUN, [*bodies[:at], one(sequence=7), *bodies[at:]])
    assert found.ours.tolist() == [index == at for index in range(len(bodies) + 1)]
    assert found.intact.tolist() == found.ours.tolist()
    for column in (found.producer, found.sequence, found.due_ns, found.sent_ns):
        assert all(value == -1 for index, value in enumerate(column) if index != at)
    assert found.sequence[at] == 7


@given(runs)
def test_a_message_of_another_run_is_not_ours(run: int) -> None:
    """A topic that was used before has no deliveries of this run."""
    found = decode(RUN, [one(run=run)])
    assert bool(found.ours[0]) is bool(found.intact[0]) is (run == RUN)


def test_no_bodies_decode_to_no_rows() -> None:
    """The last, empty flush of a consumer that received nothing."""
    found = decode(RUN, [])
    assert len(found.ours) == len(found.intact) == len(found.sequence) == 0


def test_the_layout_is_the_documented_one() -> None:
    """Offsets and sizes as in the module's table: other tools may read messages, too."""
    body = one(100)
    assert SMALLEST == 52
    assert body[:4] == b"mqc1"
    fields = [(4, 4, 3), (8, 8, RUN), (16, 8, 5), (24, 8, 11), (32, 8, 12), (40, 4, 100)]
    for start, length, value in fields:
        assert int.from_bytes(body[start : start + length], "little") == value
    assert NUMBER_AT == 16
    assert body[44:48] == bytes(4)
    assert body[48:96] == bytes(range(48))
    assert int.from_bytes(body[96:], "little") == zlib.crc32(body[:96])


@given(first=st.integers(0, 2**40), count=st.integers(0, 300), distinct=st.integers(0, 50))
def test_keys_go_round(first: int, count: int, distinct: int) -> None:
    """Message n has key number n modulo the number of keys; none has one when there are none."""
    found = message.keys(first, count, distinct)
    if distinct:
        expected = [b"key-%d" % (number % distinct) for number in range(first, first + count)]
        assert list(found) == expected
    else:
        assert list(found) == [None] * count
