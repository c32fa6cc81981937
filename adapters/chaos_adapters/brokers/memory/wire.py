"""Frames: what goes over the wire and into the journal.

    offset  size  field
         0     4  length of the head, little-endian
         4     4  length of the blob, little-endian
         8     -  head, a JSON object
         -     -  blob, for instance the bodies of messages one after the other

A request has `op` and `id`; each of its answers has the same `id`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from struct import Struct
from typing import Any

Head = dict[str, Any]

LARGEST = 256 << 20
_LENGTHS = Struct("<II")


def pack(head: Head, blob: bytes = b"") -> bytes:
    """One frame."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(text), len(blob)), text, blob))


def split(blob: bytes, lengths: Sequence[int]) -> list[bytes]:
    """The bodies in a blob. Raises ValueError if the lengths are not those of this blob."""
    ends = list(accumulate(lengths, initial=0))
    if ends[-1] != len(blob):
        raise ValueError(f"bodies of {ends[-1]} bytes in a blob of {len(blob)}")
    return [blob[end - length : end] for end, length in zip(ends[1:], lengths, strict=True)]


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def unread(self) -> int:
        """How many bytes of an incomplete frame are there."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[tuple[Head, bytes]]:
        """The frames that are complete now. Raises ValueError on what cannot be a frame."""
        self._rest += data
        start, raw = 0, bytes(self._rest)
        while len(raw) - start >= _LENGTHS.size:
            head_length, blob_length = _LENGTHS.unpack_from(raw, start)
            if head_length + blob_length > LARGEST:
                raise ValueError(f"a frame of {head_length + blob_length} bytes")
            middle = start + _LENGTHS.size + head_length
            if middle + blob_length > len(raw):
                break
            yield (
                json.loads(raw[start + _LENGTHS.size : middle]),
                raw[middle : middle + blob_length],
            )
            start = middle + blob_length
        del self._rest[:start]
