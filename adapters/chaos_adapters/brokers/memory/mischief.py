"""What a node does wrong on request: every n-th message it takes in, counted since it started."""

from __future__ import annotations

from dataclasses import dataclass, fields
from struct import Struct
from zlib import crc32

REFUSED = -1
"""As the answer to a message: it is not stored."""

FAR_BEYOND = 1 << 40
"""An invented message is a copy with a sequence number that is so much higher."""

_MAGIC = b"mqc1"
_SEQUENCE = Struct("<q")  # where and how chaos.message writes it; its module needs numpy
_SEQUENCE_AT = 16
_CRC = Struct("<I")


@dataclass(frozen=True)
class Mischief:
    """Every n-th message is treated in this way; 0: none.

    At most one of `refuse`, `ghost`, `lose` and `silent` is the fate of a message, the first of
    them that is due; the others change what is stored or delivered, and add up.
    """

    refuse: int = 0
    ghost: int = 0
    lose: int = 0
    silent: int = 0
    repeat: int = 0
    reorder: int = 0
    invent: int = 0
    damage: int = 0
    redeliver: int = 0
    diverge: int = 0

    @property
    def on_intake(self) -> bool:
        """Whether any message may be treated in a special way when it comes in."""
        later = ("redeliver", "diverge")
        return any(getattr(self, field.name) for field in fields(self) if field.name not in later)

    def intake(self, number: int, body: bytes, place: int) -> tuple[list[bytes], int | None]:
        """What to store of the message with this number, and what to answer (None: nothing).

        `place` is the offset that the next stored message gets.
        """
        if _due(self.refuse, number):
            return [], REFUSED
        ghost = _due(self.ghost, number)
        if not ghost and _due(self.lose, number):
            return [], place
        stored = [damaged(body) if _due(self.damage, number) else body]
        if _due(self.repeat, number):
            stored += stored
        if _due(self.invent, number):
            stored.append(invented(body))
        if ghost:
            return stored, REFUSED
        return stored, None if _due(self.silent, number) else place

    def swaps(self, number: int) -> bool:
        """Whether the message changes places with the next one of its partition."""
        return _due(self.reorder, number)

    def delivers_again(self, number: int) -> bool:
        """Whether the delivery with this number is made twice."""
        return _due(self.redeliver, number)

    def copied(self, number: int, body: bytes) -> bytes:
        """What a follower makes of the message with this number."""
        return damaged(body) if _due(self.diverge, number) else body


def _due(every: int, number: int) -> bool:
    return every > 0 and number % every == 0


def damaged(body: bytes) -> bytes:
    """The body with one byte changed, the last before its CRC."""
    at = max(0, len(body) - _CRC.size - 1)
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :] if body else b"\xff"


def invented(body: bytes) -> bytes:
    """A message like this one, right in every respect, that nobody sent."""
    end = _SEQUENCE_AT + _SEQUENCE.size
    if not body.startswith(_MAGIC) or len(body) < end + _CRC.size:
        return body + b", invented"
    (sequence,) = _SEQUENCE.unpack_from(body, _SEQUENCE_AT)
    text = body[:_SEQUENCE_AT] + _SEQUENCE.pack(sequence + FAR_BEYOND) + body[end : -_CRC.size]
    return text + _CRC.pack(crc32(text))
