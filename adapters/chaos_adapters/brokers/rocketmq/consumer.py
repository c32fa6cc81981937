"""The consumer: a member of a group that pulls its queues from the master, or from a slave while
there is no master.

    queue shared out ──position asked for──> pulling <──> what it got is handed over in order
           │                                    │
           └── shared out to another one: its position is stored, the rest is forgotten

A message that is handed back goes into the group's topic of retries, whose queue is shared out as
well, and after `maxReconsumeTimes` into its dead-letter topic (Java: RECONSUME_LATER). What it was
handed over as is settled only when the broker has taken it back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries
from chaos.timing import now_ns
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.admin import servers
from chaos_adapters.brokers.rocketmq.lines import Line, wait
from chaos_adapters.brokers.rocketmq.membership import MEMBERS, Membership, new_identity, share
from chaos_adapters.brokers.rocketmq.reading import deliveries, pull_fields
from chaos_adapters.brokers.rocketmq.remoting import OWN_QUEUE, Frame, Stored, messages
from chaos_adapters.brokers.rocketmq.routes import RouteWatch
from chaos_adapters.brokers.rocketmq.settings import ConsumerSettings

_PATIENCE_S = 10.0
"""How much longer than it may hold a question a broker may take to answer it; it looks at what it
holds only each 5 s (class PullRequestHoldService)."""
_PREFETCH = 1000
_RETRY_S = 0.1
_COMMIT_WITHIN_S = 3.0
_STEP_S = 0.2
_NOT_FOUND = "look message by offset failed"
"""What a broker says of a message that is handed back and that it has no more."""
_MISSED_MOST = 30
"""So often it is asked, for 3 s; then the message is let go: it would hold the queue for ever."""


@dataclass
class Queue:
    """One queue that this member reads, of the topic or of retries. `position` is where the next
    pull begins (None: not known yet), `settled` the first message that is not settled, `stored`
    what the broker was told; `at_end` says that the group has no position and begins at the end."""

    topic: str
    number: int
    position: int | None = None
    received: int = -1
    settled: int = -1
    stored: int = -1
    asked_at: float = 0.0
    at_end: bool = False
    open: bool = False
    ready: list[Stored] = field(default_factory=list)


@dataclass(frozen=True)
class _Pull:
    queue: Queue


@dataclass(frozen=True)
class _Position:
    queue: Queue


@dataclass(frozen=True)
class _Commit:
    queue: Queue
    offset: int


@dataclass(eq=False)
class _Return:
    """A message on its way back to the broker, which did not find it so many times."""

    queue: Queue
    message: Stored
    ask_at: float = 0.0
    open: bool = False
    missed: int = 0


class RemotingConsumer:
    """spi.Consumer, SettlesDurably, HandsBack."""

    def __init__(
        self, clients: Mapping[str, Address], topic: str, group: str, settings: ConsumerSettings
    ) -> None:
        self._topic, self._group, self._settings = topic, group, settings
        self._retries = f"%RETRY%{group}"
        self._watch = RouteWatch(servers(clients), topic, settings.pollNameServerInterval / 1e3)
        self._member = Membership(
            new_identity(), group, topic, settings.heartbeatBrokerInterval / 1e3,
            settings.rebalanceInterval / 1e3,
        )  # fmt: skip
        self._lines: dict[Address, Line] = {}
        self._queues: dict[tuple[str, int], Queue] = {}
        self._last: list[tuple[Queue, Stored]] = []
        self._returns: list[_Return] = []
        self._source: Line | None = None
        self._master_at: Address | None = None
        self._commit_at = time.monotonic()

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """What has arrived of all queues; waits for the first message only."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._step()
            if any(queue.ready for queue in self._queues.values()):
                return self._hand_over(most)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            lines = [*self._lines.values(), self._watch.line]
            wait(lines, min(left_s, _STEP_S, self._watch.due_s(time.monotonic())))

    def settle(self) -> None:
        """Positions are stored by the interval, as applications do."""
        self._settle()
        now = time.monotonic()
        if now >= self._commit_at + self._settings.persistConsumerOffsetInterval / 1e3:
            self._commit_at = now
            self._commit(list(self._queues.values()))

    def settle_durably(self) -> None:
        """Hand back and store all positions, and wait for the answers."""
        self._settle()
        deadline = time.monotonic() + _COMMIT_WITHIN_S
        self._commit(list(self._queues.values()))
        while self._returns or any(q.stored < q.settled for q in self._queues.values()):
            if time.monotonic() > deadline:
                raise ClusterError(f"no broker stores the positions of {self._group}")
            wait(list(self._lines.values()), 0.05)
            self._step()
            self._settle()
            self._commit(list(self._queues.values()))

    def hand_back(self, index: int) -> None:
        """See spi.HandsBack; it leaves with the next turn."""
        self._returns.append(_Return(*self._last[index]))

    def _settle(self) -> None:
        for queue in self._queues.values():
            back = [each.message.offset for each in self._returns if each.queue is queue]
            queue.settled = max(queue.settled, min([queue.received, *back]))

    def close(self) -> None:
        """Store all positions if somebody takes them, and leave the group."""
        with suppress(ClusterError):  # else the group goes on from what was stored before
            self.settle_durably()
        for line in self._lines.values():
            if line.connected:
                self._member.leave(line)
                line.flush()
            line.close()
        self._watch.close()

    def _hand_over(self, most: int) -> Deliveries:
        self._last = []
        for queue in self._queues.values():
            part = queue.ready[: most - len(self._last)]
            if part:
                del queue.ready[: len(part)]
                queue.received = part[-1].offset + 1
                self._last += [(queue, each) for each in part]
        return deliveries([self._told(*each) for each in self._last], now_ns())

    def _told(self, queue: Queue, found: Stored) -> Stored:
        """As the engine wants it: a message that came again has no place in the stream any more."""
        if queue.topic == self._topic:
            return found
        return replace(found, queue=int(found.properties.get(OWN_QUEUE, -1)), offset=-1)

    def _step(self) -> None:
        now = time.monotonic()
        if self._watch.turn(now):
            self._follow()
        for line in list(self._lines.values()):
            if not line.connected:
                self._member.forget(line)
                line.connect(now)
            for tag, answer in line.turn():
                self._answered(tag, answer, now)
            self._lost(line)
            self._member.beat(line, now)
        source = self._source
        if source is None or not source.connected:
            return
        self._member.ask(source, now)
        self._share_out()
        self._give_back(now)
        for queue in self._queues.values():
            self._go_on(queue, source, now)

    def _follow(self) -> None:
        """The route changed: connect to all brokers that it names, read from the first."""
        named = set(self._watch.route.brokers.values())
        for at in [at for at in self._lines if at not in named]:
            gone = self._lines.pop(at)
            self._member.forget(gone)
            gone.close()
            self._lost(gone)
        for at in named:
            self._lines.setdefault(at, Line(at))
        first = self._watch.route.source
        source = self._lines[first] if first else None
        if source is not self._source:
            # What the old one still holds for us is of no use; nobody waits for it any more.
            for queue in self._queues.values():
                queue.open = False
            if self._source:
                self._forget_pulls(self._source)
        self._source = source
        if self._watch.route.master != self._master_at:
            self._master_at = self._watch.route.master
            self._store_anew()

    def _forget_pulls(self, line: Line) -> None:
        for opaque in [n for n, tag in line.open.items() if isinstance(tag, _Pull | _Position)]:
            del line.open[opaque]

    def _store_anew(self) -> None:
        """A new master has positions that are up to 10 s old (class SlaveSynchronize)."""
        for line in self._lines.values():
            for opaque in [n for n, tag in line.open.items() if isinstance(tag, _Commit)]:
                del line.open[opaque]  # what the old one still answers says nothing of the new
        for queue in self._queues.values():
            # Whoever has no position says 0 by itself, except to those who begin at the end.
            queue.stored = -1 if queue.at_end else min(queue.stored, 0)

    def _lost(self, line: Line) -> None:
        for tag in line.lost():
            if isinstance(tag, _Pull | _Position):
                tag.queue.open = False
            elif isinstance(tag, _Return):
                tag.open = False
            self._watch.hurry()

    def _share_out(self) -> None:
        members, me = self._member.members, self._member.identity
        counts = {self._topic: self._watch.route.queues, self._retries: 1}
        mine = [(topic, n) for topic, count in counts.items() for n in share(me, members, count)]
        if not members or not counts[self._topic] or mine == list(self._queues):
            return
        self._commit([queue for place, queue in self._queues.items() if place not in mine])
        self._queues = {place: self._queues.get(place) or Queue(*place) for place in mine}

    def _give_back(self, now: float) -> None:
        """Once more where the broker did not take it or was lost: it may come twice then."""
        line = self._master
        for each in self._returns:
            if line and not each.open and now >= each.ask_at:
                each.open, each.ask_at = True, now + _RETRY_S
                line.ask(each, codes.CONSUMER_SEND_MSG_BACK, {
                    "group": self._group, "offset": each.message.physical,
                    "originTopic": self._topic, "originMsgId": "", "unitMode": False,
                    "delayLevel": self._settings.delayLevelWhenNextConsume,
                    "maxReconsumeTimes": self._settings.maxReconsumeTimes,
                })  # fmt: skip

    def _go_on(self, queue: Queue, source: Line, now: float) -> None:
        if queue.open:
            limit_s = self._settings.brokerSuspendMaxTimeMillis / 1e3 + _PATIENCE_S
            if now > queue.asked_at + limit_s:
                source.close()  # it is silent; what is open on it is lost
                self._lost(source)
            return
        if now < queue.asked_at:
            return
        if queue.position is None:
            self._ask_position(queue, source)
        elif len(queue.ready) < _PREFETCH:
            fields = dict(pull_fields(
                self._group, queue.topic, queue.number, queue.position,
                self._settings.pullBatchSize, self._settings.brokerSuspendMaxTimeMillis,
            ))  # fmt: skip
            source.ask(_Pull(queue), codes.PULL_MESSAGE, fields)
        else:
            return
        queue.open, queue.asked_at = True, now

    def _ask_position(self, queue: Queue, source: Line) -> None:
        fields: dict[str, object] = {"topic": queue.topic, "queueId": queue.number}
        if queue.at_end:
            source.ask(_Position(queue), codes.GET_MAX_OFFSET, {**fields, "committed": True})
            return
        if self._begins_last:
            # Else it says 0 for what it has from the beginning on (class ConsumerManageProcessor).
            fields["setZeroIfNotFound"] = False
        fields["consumerGroup"] = self._group
        source.ask(_Position(queue), codes.QUERY_CONSUMER_OFFSET, fields)

    def _answered(self, tag: object, answer: Frame, now: float) -> None:
        if tag is None and answer.code == codes.NOTIFY_CONSUMER_IDS_CHANGED:
            self._member.changed()
        elif tag == MEMBERS and answer.code == codes.SUCCESS:
            self._member.take(answer.json())
        elif isinstance(tag, _Commit) and answer.code == codes.SUCCESS:
            tag.queue.stored = max(tag.queue.stored, tag.offset)
        elif isinstance(tag, _Return):
            tag.open = False
            tag.missed += answer.remark.startswith(_NOT_FOUND)
            over = answer.code == codes.SUCCESS or tag.missed >= _MISSED_MOST
            if over and tag in self._returns:
                self._returns.remove(tag)
        elif isinstance(tag, _Pull | _Position):
            tag.queue.open, tag.queue.asked_at = False, 0.0
            if isinstance(tag, _Pull):
                self._pulled(tag.queue, answer, now)
            else:
                self._positioned(tag.queue, answer, now)

    def _pulled(self, queue: Queue, answer: Frame, now: float) -> None:
        if answer.code == codes.SUCCESS:
            queue.ready += messages(answer.body, with_properties=queue.topic == self._retries)
            queue.position = int(answer.fields["nextBeginOffset"])
        elif answer.code == codes.PULL_OFFSET_MOVED:
            # The broker has less than we saw, or no longer what we want: it says where to go on.
            queue.position = int(answer.fields["nextBeginOffset"])
        elif answer.code == codes.PULL_NOT_FOUND:
            queue.position = int(answer.fields.get("nextBeginOffset", queue.position or 0))
        elif answer.code == codes.PULL_RETRY_IMMEDIATELY:
            # What we want is being deleted: it goes on behind that.
            queue.position = int(answer.fields.get("nextBeginOffset", queue.position or 0))
            queue.asked_at = now + _RETRY_S
        else:
            queue.asked_at = now + _RETRY_S

    def _positioned(self, queue: Queue, answer: Frame, now: float) -> None:
        if answer.code == codes.SUCCESS:
            queue.position = int(answer.fields["offset"])
        elif answer.code == codes.QUERY_NOT_FOUND and self._begins_last:
            queue.at_end = queue.topic == self._topic
            queue.position = None if queue.at_end else 0
        elif answer.code == codes.QUERY_NOT_FOUND:
            queue.position = 0
        else:
            queue.asked_at = now + _RETRY_S
        if queue.position is not None:
            queue.settled = queue.received = queue.position
            # An end is stored with the rest: whoever has the queue next would take a later one.
            queue.stored = -1 if queue.at_end else queue.position

    @property
    def _begins_last(self) -> bool:
        return self._settings.consumeFromWhere == "last"

    @property
    def _master(self) -> Line | None:
        """The connection to it, while there is one."""
        master = self._watch.route.master
        line = self._lines.get(master) if master else None
        return line if line and line.connected else None

    def _commit(self, queues: list[Queue]) -> None:
        line = self._master
        if line is None:
            return
        under_way = {(id(t.queue), t.offset) for t in line.open.values() if isinstance(t, _Commit)}
        for queue in queues:
            if queue.settled > queue.stored and (id(queue), queue.settled) not in under_way:
                fields = {"consumerGroup": self._group, "topic": queue.topic,
                          "queueId": queue.number, "commitOffset": queue.settled}  # fmt: skip
                tag = _Commit(queue, queue.settled)
                line.ask(tag, codes.UPDATE_CONSUMER_OFFSET, fields)
