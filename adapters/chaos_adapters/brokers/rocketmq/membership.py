"""Being a member of a consumer group: heartbeats, and who of the members reads which queues.

There is no coordinator: every member asks a broker for the list of members and shares the queues
out by itself, by the rule that all of them follow (class AllocateMessageQueueAveragely). While the
members' lists differ, two may read one queue, so messages may be delivered twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.lines import Line


def share(member: str, members: Sequence[str], queues: int) -> list[int]:
    """The queues of one member: consecutive ones, the first members get one more."""
    order = sorted(members)
    if member not in order:
        return []
    place, count = order.index(member), len(order)
    each, more = divmod(queues, count)
    first = place * each + min(place, more)
    return list(range(first, first + each + (place < more)))


def heartbeat(identity: str, group: str, topic: str) -> bytes:
    """The body of a consumer's heartbeat (class HeartbeatData)."""
    subscription = {
        "topic": topic, "subString": "*", "expressionType": "TAG", "classFilterMode": False,
        "tagsSet": [], "codeSet": [], "subVersion": 1,
    }  # fmt: skip
    consumer = {
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "subscriptionDataSet": [subscription],
        "unitMode": False,
    }  # fmt: skip
    body = {"clientID": identity, "producerDataSet": [], "consumerDataSet": [consumer]}
    return json.dumps(body).encode()


BEAT, MEMBERS = "beat", "members"


class Membership:
    """Tells the brokers that a member is there, and asks who else is."""

    def __init__(
        self, identity: str, group: str, topic: str, beat_s: float, share_s: float
    ) -> None:
        self.members: list[str] = []
        self.identity, self._group = identity, group
        self._body = heartbeat(identity, group, topic)
        self._beat_s, self._share_s = beat_s, share_s
        self._beaten: dict[Line, float] = {}
        self._asked_at = 0.0

    def beat(self, line: Line, now: float) -> bool:
        """Send a heartbeat when it is due; whether this connection has seen one."""
        if line.connected and now >= self._beaten.get(line, 0.0) + self._beat_s:
            self._beaten[line] = now
            line.ask(BEAT, codes.HEART_BEAT, {}, self._body)
        return line.connected

    def forget(self, line: Line) -> None:
        """It was lost: the next connection begins with a heartbeat."""
        self._beaten.pop(line, None)

    def ask(self, line: Line, now: float) -> None:
        """Ask for the list of members when that is due."""
        if line.connected and now >= self._asked_at + self._share_s:
            self._asked_at = now
            fields = {"consumerGroup": self._group}
            line.ask(MEMBERS, codes.GET_CONSUMER_LIST_BY_GROUP, fields)

    def changed(self) -> None:
        """A broker says that members came or went."""
        self._asked_at = 0.0

    def take(self, told: Any) -> None:  # noqa: ANN401 - whatever the broker says
        """The body of an answer to `ask`. A broker lists a member twice, for two minutes, when it
        handles a heartbeat after the connection that it came on was closed."""
        self.members = sorted(set(told.get("consumerIdList") or ()))

    def leave(self, line: Line) -> None:
        """Say good-bye to a broker."""
        fields = {"clientID": self.identity, "consumerGroup": self._group}
        line.ask(BEAT, codes.UNREGISTER_CLIENT, fields)


def new_identity() -> str:
    """Different from that of every other client (class ClientConfig: address@instance)."""
    return f"127.0.0.1@{time.time_ns()}"
