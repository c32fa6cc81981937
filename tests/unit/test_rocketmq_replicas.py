"""What each RocketMQ broker holds, read from itself, and whom a stream is read from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from zlib import crc32

import pytest

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries, Held, PartitionEnd
from chaos_adapters.brokers.rocketmq import Rocketmq, Topic, codes
from chaos_adapters.brokers.rocketmq.reading import CONCURRENTLY
from chaos_adapters.brokers.rocketmq.text import as_text
from tests.unit.rocketmq_server import Answer, Server, stored

BODY = b"mqc1\0"
STREAM = Topic(partitions=2, name="run")


class Broker(Server):
    """A replica of [first, end) of either queue, whose messages are 100 bytes of the log each. It
    has `more` after it was asked for what it has not five times. `master` is whom it names. As
    often as it is `behind`, it says that its queues are behind its log; with the last time they
    have one message more. Of `late` ones, one comes each time that it is asked for an end. While it
    is `gone`, it closes every connection."""

    def __init__(self, text: str) -> None:
        self.text, self.first, self.end, self.more = text, 0, 0, 0
        self.epochs: list[Mapping[str, int]] | None = None
        self.times = self.missed = 0
        self.gone = False
        self.master, self.behind = "", 0
        self.file, self.late = "", 0
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        if self.gone:
            raise ConnectionError
        if code == codes.GET_BROKER_CLUSTER_INFO:
            table = {"rocketmq": {"brokerAddrs": {"0": self.master}}}
            return codes.SUCCESS, {}, json.dumps({"brokerAddrTable": table}).encode()
        if code in (codes.GET_NAMESRV_CONFIG, codes.GET_BROKER_CONFIG):
            return codes.SUCCESS, {}, self.file.encode()
        if code == codes.GET_BROKER_RUNTIME_INFO:
            self.behind, told = max(0, self.behind - 1), self.behind
            self.end += told == 1
            table = {"dispatchBehindBytes": str(told)}
            return codes.SUCCESS, {}, json.dumps({"table": table}).encode()
        if code == codes.GET_BROKER_EPOCH_CACHE:
            if self.epochs is None:
                return codes.SYSTEM_ERROR, {}, b""
            return codes.SUCCESS, {}, json.dumps({"epochList": self.epochs}).encode()
        if code in (codes.GET_MIN_OFFSET, codes.GET_MAX_OFFSET):
            return codes.SUCCESS, {"offset": str(self.told(code))}, b""
        assert code == codes.PULL_MESSAGE
        self.pulled()
        offset = int(fields["queueOffset"])
        if offset >= self.end:
            self.missed += 1
            if self.missed == 5:
                self.end += self.more
            return codes.PULL_NOT_FOUND, {"nextBeginOffset": str(offset)}, b""
        assert offset >= self.first
        text = as_text(BODY + b"%s%d" % (self.text.encode(), offset))
        found = stored(text, int(fields["queueId"]), 100 * offset, self.times, offset=offset)
        return codes.SUCCESS, {"nextBeginOffset": str(offset + 1)}, found

    def told(self, code: int) -> int:
        """An end of either queue."""
        if code == codes.GET_MIN_OFFSET:
            return self.first
        self.late, self.end = max(0, self.late - 1), self.end + bool(self.late)
        return self.end

    def pulled(self) -> None:
        """Somebody reads; a test may put something here."""


@pytest.fixture
def brokers() -> Iterator[list[Broker]]:
    """Two, the first of which is name server as well; the second is master."""
    found = [Broker("one"), Broker("two")]
    for broker in found:
        broker.master = str(found[1].address)
    yield found
    for broker in found:
        broker.close()


def clients_of(brokers: list[Broker]) -> dict[str, Address]:
    """The first as a name server too."""
    named = {f"rocketmq-{n}": broker.address for n, broker in enumerate(brokers, 1)}
    return {"namesrv-1": brokers[0].address, **named}


def held(
    brokers: list[Broker], node: str, timeout_s: float
) -> tuple[list[Held], list[PartitionEnd]]:
    """Of the first queue, and the ends of both."""
    found = list(Rocketmq().held(node, clients_of(brokers), STREAM, timeout_s))
    ends = [each for each in found if isinstance(each, PartitionEnd)]
    return [each for each in found if isinstance(each, Held) and each.partition == 0], ends


def test_a_replica_is_read_from_its_node_until_it_has_what_the_longest_has(
    brokers: list[Broker],
) -> None:
    """From its own first message on; digests are of the bodies that came, whatever the broker says
    of them, and an epoch is that of the master who wrote at this place of the log."""
    one, two = brokers
    one.first, one.end, one.more = 1, 3, 1
    two.end = 4
    one.epochs = [{"epoch": 7, "startOffset": 200}, {"epoch": 2, "startOffset": 0}]
    found, ends = held(brokers, "rocketmq-1", 10)
    bodies = [BODY + b"one%d" % offset for offset in (1, 2, 3)]
    assert [each.firsts[0] for each in found] == [1, 2, 3]
    assert [each.lasts[0] for each in found] == [1, 2, 3]
    assert [each.bodies[0] for each in found] == bodies
    assert [each.digests[0] for each in found] == [
        crc32(as_text(body)) & 0x7FFFFFFF for body in bodies
    ]
    assert [each.epochs[0] for each in found] == [2, 7, 7]
    assert ends == [PartitionEnd(0, 1, 4, 4), PartitionEnd(1, 1, 4, 4)]


def test_a_replica_that_stays_behind_never_says_that_it_is_whole(brokers: list[Broker]) -> None:
    """Its end is that of the longest, and it was not read so far. Without controllers there are no
    epochs."""
    brokers[0].end, brokers[1].end = 2, 3
    found: list[Held | PartitionEnd] = []
    with suppress(ClusterError):  # when the time is over just while it is asked
        found += Rocketmq().held("rocketmq-1", clients_of(brokers), STREAM, 0.5)
    for each in found:
        if isinstance(each, Held):
            assert list(each.epochs) == [0]
        else:
            assert (each.first, each.end, each.read < 3) == (0, 3, True)


def test_name_servers_hold_nothing(brokers: list[Broker]) -> None:
    """They are asked for nothing, and are no replicas that are empty."""
    assert held(brokers, "namesrv-1", 1) == ([], [])


def test_a_node_that_says_nothing_is_an_error(brokers: list[Broker]) -> None:
    """It is no replica without messages."""
    brokers[0].gone, brokers[1].end = True, 1
    with pytest.raises(ClusterError, match="does not answer"):
        held(brokers, "rocketmq-1", 1)
    brokers[0].gone = False
    assert held(brokers, "rocketmq-2", 10)[1] == [PartitionEnd(n, 0, 1, 1) for n in (0, 1)]


def test_a_stream_is_what_the_master_holds(brokers: list[Broker]) -> None:
    """From its first message to its end; bodies as they were before they became text."""
    one, two = brokers
    one.end, two.first, two.end = 9, 2, 4
    two.times = 1
    found = list(Rocketmq().stored(clients_of(brokers), STREAM, 10))
    rows = [each for each in found if isinstance(each, Deliveries)]
    places = [(each.partitions[0], each.offsets[0]) for each in rows]
    assert places == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert [each.bodies[0] for each in rows[:2]] == [BODY + b"two2", BODY + b"two3"]
    assert rows[0].redelivered == [True]
    ends = [each for each in found if isinstance(each, PartitionEnd)]
    assert ends == [PartitionEnd(0, 2, 4, 4), PartitionEnd(1, 2, 4, 4)]


def test_a_stream_is_read_until_where_the_masters_log_ends(brokers: list[Broker]) -> None:
    """Queues get a message after its producer was answered; those that stay behind have no end."""
    brokers[1].end, brokers[1].behind = 1, 3
    found = list(Rocketmq().stored(clients_of(brokers), STREAM, 10))
    assert found[-2:] == [PartitionEnd(n, 0, 2, 2) for n in (0, 1)]
    brokers[1].behind = 10**6
    with pytest.raises(ClusterError, match="behind its log"):
        list(Rocketmq().stored(clients_of(brokers), STREAM, 0.2))


def test_queues_that_are_built_concurrently_have_to_stand_still(brokers: list[Broker]) -> None:
    """As what is on its way to them counts as there."""
    brokers[1].file = f"brokerName=rocketmq\n{CONCURRENTLY}\n"
    brokers[1].late = 7
    found = list(Rocketmq().stored(clients_of(brokers), STREAM, 10))
    assert found[-2:] == [PartitionEnd(n, 0, 7, 7) for n in (0, 1)]
    brokers[1].late = 10**6
    with pytest.raises(ClusterError, match="behind its log"):
        list(Rocketmq().stored(clients_of(brokers), STREAM, 1.5))


def test_nothing_is_read_to_its_end_when_the_master_changed(brokers: list[Broker]) -> None:
    """Its end may have been short."""
    one, two = brokers
    two.end = 1
    found: list[Deliveries | PartitionEnd] = []

    def change() -> None:
        one.master = str(one.address)

    two.pulled = change  # type: ignore[method-assign]
    with pytest.raises(ClusterError, match="by now"):
        found.extend(Rocketmq().stored(clients_of(brokers), STREAM, 10))
    assert not [each for each in found if isinstance(each, PartitionEnd)]
