"""RocketMQ's wire format, against bytes that were put together by hand."""

from __future__ import annotations

import json
import struct
import zlib

import pytest

from chaos.spi import Outcome
from chaos_adapters.brokers.rocketmq import Rocketmq, codes
from chaos_adapters.brokers.rocketmq.membership import heartbeat, share
from chaos_adapters.brokers.rocketmq.producer import Templates
from chaos_adapters.brokers.rocketmq.remoting import (
    OWN_QUEUE,
    answer,
    frame,
    frames,
    messages,
    request,
)
from chaos_adapters.brokers.rocketmq.settings import ProducerSettings

# What a broker of 5.3.3 wrote: size, header size with the kind of header (0, JSON) on top, header.
HEADER = b'{"code":0,"extFields":{"queueId":"2","queueOffset":"41"},"flag":1,"opaque":7}'
RESPONSE = struct.pack(">iI", 4 + len(HEADER) + 2, len(HEADER)) + HEADER + b"ok"


def test_an_answer_is_read_byte_by_byte_and_taken_out_of_the_buffer() -> None:
    """A frame counts when it is whole, and what follows it stays."""
    buffer = bytearray()
    for byte in RESPONSE[:-1]:
        buffer.append(byte)
        assert list(frames(buffer)) == []
    buffer += RESPONSE[-1:] + b"\0\0"
    (found,) = frames(buffer)
    assert (found.code, found.opaque, found.is_answer) == (0, 7, True)
    assert found.fields == {"queueId": "2", "queueOffset": "41"}
    assert found.body == b"ok"
    assert buffer == b"\0\0"


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1", struct.pack(">iI", 2, 1), b"\x00\x00\x00\x10\x01\0\0\4"]
)
def test_what_is_no_frame_is_told(start: bytes) -> None:
    """Another protocol, a size that cannot be, a header that is not JSON."""
    with pytest.raises(ValueError, match="not a frame"):
        list(frames(bytearray(start + bytes(20))))


def test_a_request_says_what_a_broker_needs() -> None:
    """Values are text, truth in small letters; sizes are right."""
    raw = request(105, 3, {"topic": "t", "acceptStandardJsonOnly": True}, b"xy")
    size, head = struct.unpack(">iI", raw[:8])
    assert size == len(raw) - 4
    assert raw[8 + head :] == b"xy"
    header = json.loads(raw[8 : 8 + head])
    assert (header["code"], header["opaque"], header["flag"]) == (105, 3, 0)
    assert header["extFields"] == {"topic": "t", "acceptStandardJsonOnly": "true"}


def test_answers_to_brokers_are_marked_as_such() -> None:
    """Bit 0 of the flag."""
    (found,) = frames(bytearray(answer(0, 9)))
    assert (found.is_answer, found.opaque) == (True, 9)


def test_numbers_as_keys_are_read_as_brokers_write_them() -> None:
    """`{0:"a"}` is what RocketMQ's own JSON looks like."""
    (found,) = frames(bytearray(frame(b'{"code":0,"flag":1}', b'{"a":{0:"127.0.0.1:1",-1: "x"}}')))
    assert found.json() == {"a": {"0": "127.0.0.1:1", "-1": "x"}}


def stored(body: bytes, system: int = 0, magic: int = 0xDAA320A7, topic: bytes = b"t") -> bytes:
    """A message as in class MessageDecoder; queue 3, offset 5, place 700, given back twice."""
    host = bytes(16) if system & 0x30 else bytes(4)
    width = 2 if magic == 0xDAA320AB else 1
    properties = b"KEYS\x01key-1\x02WAIT\x01true\x02"
    rest = (
        struct.pack(">IIiiqqiq", magic, zlib.crc32(body), 3, 0, 5, 700, system, 1) + host
        + bytes(4) + bytes(8) + host + bytes(4) + struct.pack(">iqi", 2, 0, len(body)) + body
        + len(topic).to_bytes(width, "big") + topic
        + len(properties).to_bytes(2, "big") + properties
    )  # fmt: skip
    return struct.pack(">i", len(rest) + 4) + rest


@pytest.mark.parametrize(
    ("system", "magic"), [(0, 0xDAA320A7), (0x30, 0xDAA320A7), (0, 0xDAA320AB)]
)
def test_messages_are_read_with_either_kind_of_address_and_topic(system: int, magic: int) -> None:
    """Queue, offset, place in the log, body; two in a row."""
    raw = stored(b"one", system, magic) + stored(b"", system, magic)
    one, empty = messages(raw, with_properties=True)
    assert (one.queue, one.offset, one.physical, one.times, one.body) == (3, 5, 700, 2, b"one")
    assert one.properties == {"KEYS": "key-1", "WAIT": "true"}
    assert empty.body == b""


def test_a_compressed_body_is_read() -> None:
    """Bit 0 of the system flag."""
    (found,) = messages(stored(zlib.compress(b"a" * 100), 1))
    assert found.body == b"a" * 100


def test_what_is_no_message_is_told() -> None:
    """A magic that is none."""
    with pytest.raises(ValueError, match="not a message"):
        list(messages(stored(b"x", magic=1)))


@pytest.mark.parametrize("key", [b"key-1", None, b'quo"te%d'])
def test_a_send_has_its_number_queue_key_and_body(key: bytes | None) -> None:
    """The template is filled in right, whatever is in a key."""
    raw = Templates("topic", ProducerSettings()).frame(12, 3, key, b"body%d", 1234)
    _, head = struct.unpack(">iI", raw[:8])
    header = json.loads(raw[8 : 8 + head])
    fields = header["extFields"]
    assert (header["code"], header["opaque"]) == (310, 12)
    assert (fields["b"], fields["e"], fields["g"], fields["n"]) == (
        "topic",
        "3",
        "1234",
        "rocketmq",
    )
    pairs = dict(pair.split("\x01") for pair in fields["i"].split("\x02") if pair)
    given = {} if key is None else {"KEYS": key.decode()}
    assert pairs == {"WAIT": "true", OWN_QUEUE: "3", **given}
    assert raw[8 + head :] == b"body%d"


def test_a_send_says_what_its_settings_say() -> None:
    """Whether the answer is to wait for copies, and for how long the message is kept back; a half
    message says that it is one."""

    def told(settings: ProducerSettings, half: bool = False) -> tuple[str, str]:
        raw = Templates("topic", settings, half).frame(1, 0, None, b"", 1)
        fields = json.loads(raw[8 : 8 + struct.unpack(">iI", raw[:8])[1]])["extFields"]
        return fields["f"], fields["i"]

    plain = f"{OWN_QUEUE}\x010\x02"
    assert told(ProducerSettings(waitStoreMsgOK=False)) == ("0", f"WAIT\x01false\x02{plain}")
    delayed = f"WAIT\x01true\x02{plain}DELAY\x012\x02"
    assert told(ProducerSettings(delayTimeLevel=2)) == ("0", delayed)
    half = f"WAIT\x01true\x02{plain}TRAN_MSG\x01true\x02PGROUP\x01chaos-producers\x02"
    assert told(ProducerSettings(), half=True) == ("4", half)


@pytest.mark.parametrize(("code", "remark", "wanted"), [
    (0, "", Outcome.OK),
    (10, "", Outcome.WEAK), (11, "", Outcome.WEAK), (12, "", Outcome.WEAK),
    (2, "[REJECTREQUEST]system busy", Outcome.REFUSED), (14, "", Outcome.REFUSED),
    (13, "", Outcome.REFUSED), (16, "", Outcome.REFUSED),
    (1, "create mapped file failed, server is busy", Outcome.REFUSED),
    (1, "create message failed", Outcome.INDETERMINATE), (1, "", Outcome.INDETERMINATE),
    (17, "", Outcome.REFUSED), (1, "in-sync replicas not enough", Outcome.REFUSED),
    (1, "UNKNOWN_ERROR", Outcome.INDETERMINATE), (205, "", Outcome.INDETERMINATE),
])  # fmt: skip
def test_what_is_known_of_a_send(code: int, remark: str, wanted: Outcome) -> None:
    """Refused is only what a broker says before it stores anything."""
    assert codes.outcome(code, remark) is wanted


def test_codes_have_the_names_of_answers() -> None:
    """11 as an answer is SLAVE_NOT_AVAILABLE, not the request to pull."""
    assert codes.NAMES[11] == "SLAVE_NOT_AVAILABLE"
    assert codes.NAMES[14] == "SERVICE_NOT_AVAILABLE"


@pytest.mark.parametrize(("members", "queues", "wanted"), [
    (["a"], 4, {"a": [0, 1, 2, 3]}),
    (["b", "a"], 3, {"a": [0, 1], "b": [2]}),
    (["a", "b", "c"], 2, {"a": [0], "b": [1], "c": []}),
    (["a", "b"], 0, {"a": [], "b": []}),
])  # fmt: skip
def test_queues_are_shared_out_as_all_members_do(
    members: list[str], queues: int, wanted: dict[str, list[int]]
) -> None:
    """Each queue to one member, by the order of their names."""
    assert {member: share(member, members, queues) for member in members} == wanted
    assert share("stranger", members, queues) == []


def test_a_heartbeat_names_group_and_topic() -> None:
    """What a broker must know before it lets a member pull."""
    told = json.loads(heartbeat("me", "group", "topic"))
    (consumer,) = told["consumerDataSet"]
    assert (told["clientID"], consumer["groupName"]) == ("me", "group")
    assert consumer["subscriptionDataSet"][0]["topic"] == "topic"


def test_pings_are_what_the_servers_of_5_3_3_answer() -> None:
    """A learner's handshake that nobody counts, and a heartbeat of SOFABolt; where nothing can be
    asked but what a slave would ask, nothing is."""
    ports = {port.name: port for member in Rocketmq().members() for port in member.ports}
    assert struct.unpack(">ihhq", ports["ha"].ping) == (1, 0, 1, -1)
    version, kind, command = struct.unpack(">BBH", ports["raft"].ping[:4])
    assert (version, kind, command) == (1, 1, 0)
    assert all(port.ping for port in ports.values())
    classical = Rocketmq(replication="SYNC_MASTER").members()
    silent = {port.name for member in classical for port in member.ports if not port.ping}
    assert silent == {"ha"}
