"""Where RocketMQ's consumer begins, goes on and stores, against brokers that keep positions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from chaos.errors import ClusterError
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes, consumer
from chaos_adapters.brokers.rocketmq.consumer import RemotingConsumer
from chaos_adapters.brokers.rocketmq.settings import ConsumerSettings
from tests.unit.rocketmq_server import Answer, Server, stored

TOPIC, GROUP = "topic", "group"
RETRIES = f"%RETRY%{GROUP}"
Place = tuple[int, int]


class Broker(Server):
    """`ends` and `firsts` are those of the topic's queues, `positions` the group's by topic and
    queue; `others` are members besides those that it hears of. `events` are hand-backs and stored
    positions as they came. It refuses to store while `stubborn`, to take back so many times. While
    it `holds`, a question for messages that it has not stays open. It is `removing` what is before
    that offset."""

    def __init__(self) -> None:
        self.firsts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.others: list[str] = []
        self.events: list[tuple[str, int, int]] = []
        self.stubborn = self.cut = self.holds = False
        self.refusals = 0
        self.removing = 0
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer | None:
        if code == codes.GET_CONSUMER_LIST_BY_GROUP:
            members = {json.loads(beat)["clientID"] for beat in self.beats}
            told = [*members, *self.others]
            return codes.SUCCESS, {}, json.dumps({"consumerIdList": told}).encode()
        if code == codes.QUERY_CONSUMER_OFFSET:
            return self.position(fields)
        if code == codes.GET_MAX_OFFSET:
            return codes.SUCCESS, {"offset": str(self.ends.get(int(fields["queueId"]), 0))}, b""
        if code == codes.PULL_MESSAGE:
            return self.pull(fields["topic"], int(fields["queueId"]), int(fields["queueOffset"]))
        if code == codes.CONSUMER_SEND_MSG_BACK:
            self.refusals -= 1
            refused = self.refusals >= 0
            self.events.append(("refused" if refused else "back", 0, int(fields["offset"])))
            return codes.SYSTEM_ERROR if refused else codes.SUCCESS, {}, b""
        if code == codes.UPDATE_CONSUMER_OFFSET:
            if self.stubborn:
                return codes.SYSTEM_ERROR, {}, b""
            queue, offset = int(fields["queueId"]), int(fields["commitOffset"])
            self.positions[fields["topic"], queue] = offset
            self.events.append(("stored", queue, offset))
        return codes.SUCCESS, {}, b""

    def position(self, fields: Mapping[str, str]) -> Answer:
        """As 5.3.3: 0 where nobody has one, unless it is told that none is wanted."""
        place = fields["topic"], int(fields["queueId"])
        if place not in self.positions and fields.get("setZeroIfNotFound") == "false":
            return codes.QUERY_NOT_FOUND, {}, b""
        return codes.SUCCESS, {"offset": str(self.positions.get(place, 0))}, b""

    def pull(self, topic: str, queue: int, offset: int) -> Answer | None:
        """All that there are; each at its place in the log, 100 times the queue and the offset."""
        if self.cut:
            self.cut = False
            raise ConnectionError
        if offset < self.removing and topic == TOPIC:
            return codes.PULL_RETRY_IMMEDIATELY, {"nextBeginOffset": str(self.removing)}, b""
        first, end = self.firsts.get(queue, 0), self.ends.get(queue, 0)
        if topic != TOPIC or first <= offset == end or not end:
            if self.holds:
                return None
            return codes.PULL_NOT_FOUND, {"nextBeginOffset": str(offset)}, b""
        if not first <= offset < end:
            return codes.PULL_OFFSET_MOVED, {"nextBeginOffset": str(first)}, b""
        places = range(offset, end)
        found = [stored(b"body", queue, 100 * queue + each, offset=each) for each in places]
        return codes.SUCCESS, {"nextBeginOffset": str(end)}, b"".join(found)


Make = Callable[..., RemotingConsumer]


@pytest.fixture
def brokers() -> Iterator[list[Broker]]:
    """Two, of which the first is name server and master."""
    found = [Broker(), Broker()]
    yield found
    for broker in found:
        broker.close()


@pytest.fixture
def broker(brokers: list[Broker]) -> Broker:
    return brokers[0]


@pytest.fixture
def make(broker: Broker) -> Iterator[Make]:
    """A member of the group, which stores positions only when it is told to."""
    made = []

    def new(**settings: int | str) -> RemotingConsumer:
        chosen: dict[str, int | str] = {"persistConsumerOffsetInterval": 10**7, **settings}
        found = RemotingConsumer(
            {"namesrv-1": broker.address},
            TOPIC,
            GROUP,
            ConsumerSettings(**chosen),  # type: ignore[arg-type]
        )
        made.append(found)
        return found

    yield new
    for each in made:
        each.close()


def received(member: RemotingConsumer, count: int) -> list[Place]:
    """Queue and offset of so many messages, and of what else comes with them, in order."""
    found: list[Place] = []

    def enough() -> bool:
        if some := member.receive(10, 0.05):
            found.extend(zip(some.partitions, some.offsets, strict=True))
        return len(found) >= count

    wait_until(enough, "the messages", 10, every_s=0.001)
    return found


def test_a_group_goes_on_where_it_was(broker: Broker, make: Make) -> None:
    """At its position, or at the first message that there still is; and what is stored is the
    next one that it wants."""
    broker.ends, broker.firsts = {0: 5, 1: 4}, {1: 2}
    broker.positions[TOPIC, 0] = 3
    member = make()
    assert sorted(received(member, 4)) == [(0, 3), (0, 4), (1, 2), (1, 3)]
    member.settle_durably()
    assert (broker.positions[TOPIC, 0], broker.positions[TOPIC, 1]) == (5, 4)


def test_a_new_group_begins_at_the_first_message(broker: Broker, make: Make) -> None:
    """By default."""
    broker.ends = {0: 2}
    assert received(make(), 2) == [(0, 0), (0, 1)]


def test_a_new_group_begins_at_the_end_where_it_is_told_to(broker: Broker, make: Make) -> None:
    """What came before is skipped; the end is stored, so that nobody who has the queue next skips
    more. A group that has a position goes on from there."""
    broker.ends = {0: 2, 1: 3}
    broker.positions[TOPIC, 1] = 1
    member = make(consumeFromWhere="last")
    assert received(member, 2) == [(1, 1), (1, 2)]
    wait_until(
        lambda: member.receive(1, 0.01) is None and broker.asked[codes.GET_MAX_OFFSET] == 3,
        "the ends", 10,
    )  # fmt: skip
    member.settle_durably()
    assert broker.positions[TOPIC, 0] == 2
    broker.ends[0] = 4
    assert received(member, 2) == [(0, 2), (0, 3)]


def test_no_more_is_handed_over_than_was_asked_for(broker: Broker, make: Make) -> None:
    """Over all queues."""
    broker.ends = {0: 3, 1: 3}
    member, found = make(), []

    def over() -> bool:
        some = member.receive(2, 0.01)
        assert some is None or len(some.bodies) <= 2
        found.extend(some.bodies if some else [])
        return len(found) == 6

    wait_until(over, "all messages", 10, every_s=0.2)


def test_nothing_is_stored_before_what_was_handed_back_is_taken(broker: Broker, make: Make) -> None:
    """Of its own queue: another one is settled without it."""
    broker.ends, broker.refusals = {0: 1}, 10**6
    member = make(persistConsumerOffsetInterval=1)
    received(member, 1)
    member.hand_back(0)
    member.settle()
    broker.ends = {0: 1, 1: 1}
    received(member, 1)

    def settled() -> bool:
        member.settle()
        return member.receive(1, 0.01) is None and (TOPIC, 1) in broker.positions

    wait_until(settled, "the position", 10)
    assert broker.positions == {(TOPIC, 1): 1}
    broker.refusals = 0
    member.settle_durably()
    assert broker.events[-2:] == [("back", 0, 0), ("stored", 0, 1)]


def test_positions_that_are_not_stored_are_an_error(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tried again first; the next one who asks finds them, when they are."""
    monkeypatch.setattr(consumer, "_COMMIT_WITHIN_S", 0.3)
    broker.ends, broker.stubborn = {0: 1}, True
    member = make()
    received(member, 1)
    with pytest.raises(ClusterError, match="positions of group"):
        member.settle_durably()
    assert broker.asked[codes.UPDATE_CONSUMER_OFFSET] > 1
    broker.stubborn = False
    monkeypatch.setattr(consumer, "_COMMIT_WITHIN_S", 10.0)
    member.settle_durably()
    assert broker.positions == {(TOPIC, 0): 1}


def test_queues_that_go_to_another_member_are_stored(broker: Broker, make: Make) -> None:
    """At once when a broker says that members changed; the queues that stay go on."""
    broker.ends = {0: 2, 3: 2}
    member = make(rebalanceInterval=10**7)
    assert len(received(member, 4)) == 4
    member.settle()
    broker.others = ["zzz"]
    broker.ask(codes.NOTIFY_CONSUMER_IDS_CHANGED, {}, b"")

    def given_up() -> bool:
        assert member.receive(1, 0.01) is None
        return (TOPIC, 3) in broker.positions

    wait_until(given_up, "the position", 10)
    assert broker.positions == {(TOPIC, 3): 2}
    broker.ends = {0: 3, 3: 3}
    assert received(member, 1) == [(0, 2)]


def test_a_connection_that_is_lost_is_made_again(broker: Broker, make: Make) -> None:
    """What was asked for on it is asked for again, after a heartbeat, which brings it into the
    broker's list of members."""
    broker.ends, broker.cut = {0: 1}, True
    assert received(make(), 1) == [(0, 0)]
    assert len(broker.beats) == 2


def test_what_is_being_deleted_is_skipped(broker: Broker, make: Make) -> None:
    """The broker says where to go on; it would say so for ever."""
    broker.ends, broker.removing = {0: 3}, 2
    assert received(make(), 1) == [(0, 2)]


def test_what_the_broker_does_not_find_any_more_is_let_go(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some tries; it would hold the position of its queue for ever."""
    monkeypatch.setattr(consumer, "_RETRY_S", 0.01)
    broker.ends, broker.refusals = {0: 1}, 10**6
    broker.remark = "look message by offset failed, 0"
    member = make()
    received(member, 1)
    member.hand_back(0)
    member.settle_durably()
    assert broker.positions == {(TOPIC, 0): 1}
    assert broker.asked[codes.CONSUMER_SEND_MSG_BACK] == 30


def test_a_new_master_is_told_all_positions(brokers: list[Broker], make: Make) -> None:
    """It may have old ones, and a queue may get no more messages."""
    master, other = brokers
    master.ends = other.ends = {0: 2}
    member = make()
    assert len(received(member, 2)) == 2
    member.settle_durably()
    assert master.positions[TOPIC, 0] == 2
    master.at = {"0": str(other.address), "1": str(master.address)}

    def moved() -> bool:
        member.receive(1, 0.01)
        return bool(other.asked[codes.PULL_MESSAGE])

    wait_until(moved, "the new master", 10)
    member.settle_durably()
    assert other.positions[TOPIC, 0] == 2


def test_without_a_master_a_slave_gives_messages_and_stores_nothing(
    brokers: list[Broker], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slave's positions are lost with the next that it copies; they wait for a new master. What
    the old one still holds for us, nobody waits for."""
    monkeypatch.setattr(consumer, "_COMMIT_WITHIN_S", 0.3)
    master, slave = brokers
    master.at = {"0": str(master.address), "1": str(slave.address)}
    master.ends = slave.ends = {0: 1}
    master.holds = True
    member = make()
    assert received(member, 1) == [(0, 0)]
    member.settle()
    master.at = {"1": str(slave.address), "2": str(master.address)}
    slave.ends = {0: 3}
    assert received(member, 2) == [(0, 1), (0, 2)]
    with pytest.raises(ClusterError, match="positions of group"):
        member.settle_durably()
    assert not slave.asked[codes.UPDATE_CONSUMER_OFFSET]
    assert not master.positions
    master.at = {"0": str(slave.address)}
    monkeypatch.setattr(consumer, "_COMMIT_WITHIN_S", 10.0)
    member.settle_durably()
    assert slave.positions == {(TOPIC, 0): 3}
