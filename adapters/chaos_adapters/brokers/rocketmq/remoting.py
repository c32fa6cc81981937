"""RocketMQ's remoting protocol: how requests and answers look on the wire.

    size     4 bytes, of all that follows
    header   4 bytes: in the top one how it is written (0: JSON), below it its size; then the header
    body     the rest

A header has `code` (what is asked for, or how it went), `opaque` (which pairs question and answer),
`flag` (bit 0: this is an answer; bit 1: none is wanted), `remark` and `extFields`, in which all
values are text. Source: RocketMQ, docs/en/RocketMQ_Example.md and class RemotingCommand of 5.3.3.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos_adapters.brokers.properties import as_text

VERSION = 479
"""Which client we say we are: 5.3.3 (class MQVersion)."""
LANGUAGE = "PYTHON"
_HEAD = struct.Struct(">iI")
_IS_ANSWER, _ONE_WAY = 1, 2
_MAX_FRAME = 1 << 26
_BARE_KEY = re.compile(r"([{,]\s*)(-?\d+)(\s*:)")


@dataclass(frozen=True)
class Frame:
    """One request or answer that came in."""

    code: int
    opaque: int = 0
    is_answer: bool = True
    remark: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:  # noqa: ANN401 - whatever the broker says
        """The body. Brokers write numbers as keys of objects, which JSON does not allow."""
        text = self.body.decode(errors="replace")
        try:
            return json.loads(text)
        except ValueError:
            return json.loads(_BARE_KEY.sub(r'\1"\2"\3', text))


def request(
    code: int, opaque: int, fields: Mapping[str, object], body: bytes = b"", one_way: bool = False
) -> bytes:
    """A request as it goes over the wire."""
    header = {
        "code": code, "language": LANGUAGE, "version": VERSION, "opaque": opaque,
        "flag": _ONE_WAY if one_way else 0,
        "extFields": {name: as_text(value) for name, value in fields.items()},
    }  # fmt: skip
    return frame(json.dumps(header).encode(), body)


def answer(code: int, opaque: int) -> bytes:
    """An answer without content to a request of a broker."""
    header = {
        "code": code, "language": LANGUAGE, "version": VERSION, "opaque": opaque,
        "flag": _IS_ANSWER,
    }  # fmt: skip
    return frame(json.dumps(header).encode(), b"")


def frame(header: bytes, body: bytes) -> bytes:
    """A header that is JSON already, and a body."""
    size = len(header)
    return _HEAD.pack(4 + size + len(body), size) + header + body


def frames(buffer: bytearray) -> Iterator[Frame]:
    """The whole frames at the start of a buffer, which are taken out of it. Raises ValueError."""
    start = 0
    while len(buffer) - start >= _HEAD.size:
        size, head = _HEAD.unpack_from(buffer, start)
        length = head & 0xFFFFFF
        if head >> 24 or not 4 + length <= size <= _MAX_FRAME:
            raise ValueError(f"not a frame of the remoting protocol: {size}, {head}")
        if len(buffer) - start < 4 + size:
            break
        middle, end = start + 8 + length, start + 4 + size
        header = json.loads(buffer[start + 8 : middle])
        start = end
        yield Frame(
            header["code"], header.get("opaque", 0), bool(header.get("flag", 0) & _IS_ANSWER),
            header.get("remark") or "", header.get("extFields") or {}, bytes(buffer[middle:end]),
        )  # fmt: skip
    del buffer[:start]


@dataclass(frozen=True)
class Stored:
    """One message as a broker stores it. `physical` is its place in the commit log, `times` how
    often it was given back by a consumer."""

    queue: int
    offset: int
    physical: int
    times: int
    crc: int
    body: bytes
    properties: Mapping[str, str] = field(default_factory=dict)


OWN_QUEUE = "chaosQueue"
"""The property in which a message says which queue it was sent to; it stays when a broker moves the
message to another topic, to be delivered again or never."""
_FIXED = struct.Struct(">iIIiiqqiq")
"""Size, magic, CRC of the body, queue, flag, queue offset, physical offset, system flag, born."""
_MAGIC, _MAGIC_LONG_TOPIC = 0xDAA320A7, 0xDAA320AB
_COMPRESSED, _BORN_V6, _STORE_V6 = 1, 1 << 4, 1 << 5


def messages(raw: bytes, with_properties: bool = False) -> Iterator[Stored]:
    """The messages in the body of a pull's answer (class MessageDecoder). Raises ValueError."""
    start = 0
    while start < len(raw):
        size, magic, crc, queue, _, offset, physical, system, _ = _FIXED.unpack_from(raw, start)
        if magic not in (_MAGIC, _MAGIC_LONG_TOPIC) or size < _FIXED.size:
            raise ValueError(f"not a message: magic {magic:#x}, size {size}")
        at = start + _FIXED.size + (20 if system & _BORN_V6 else 8)
        at += 8 + (20 if system & _STORE_V6 else 8)
        times, _, length = struct.unpack_from(">iqi", raw, at)
        at += 16
        body = raw[at : at + length]
        if system & _COMPRESSED:
            body = zlib.decompress(body)
        at += length
        properties = _properties(raw, at, magic == _MAGIC_LONG_TOPIC) if with_properties else {}
        yield Stored(queue, offset, physical, times, crc, body, properties)
        start += size


def _properties(raw: bytes, at: int, long_topic: bool) -> Mapping[str, str]:
    width = 2 if long_topic else 1
    at += width + int.from_bytes(raw[at : at + width], "big")
    length = int.from_bytes(raw[at : at + 2], "big")
    text = raw[at + 2 : at + 2 + length].decode(errors="replace")
    pairs = (pair.partition("\x01") for pair in text.split("\x02") if pair)
    return {name: value for name, _, value in pairs}
