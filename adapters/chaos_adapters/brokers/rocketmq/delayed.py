"""Delayed messages: the broker keeps them in a topic of its own until they are due.

A message with a delay level is stored in one queue of the topic of all delayed messages, which is
what its acknowledgement tells, and put into its own topic when it is due. That happens on the
master; how far it got is told to slaves every 10 s, so a new master may deliver again what the old
one had delivered. Sources: RocketMQ, "Delay Message"; classes ScheduleMessageService,
SlaveSynchronize and AdminBrokerProcessor (getAllDelayOffset) of 5.3.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.lines import Line
from chaos_adapters.brokers.rocketmq.remoting import Frame

TOPIC = "SCHEDULE_TOPIC_XXXX"
LEVELS = "1s 5s 10s 30s"
"""What `messageDelayLevel` begins with by default."""
MOST = 4
"""The highest level that a run can wait for, of these."""
_ASK_EVERY_S = 0.25


@dataclass(frozen=True)
class Asked:
    """A question of ours: for the end of what is kept, or for how far the broker got."""

    code: int


@dataclass
class Backlog:
    """Whether a broker has delivered all that it keeps at a level. It is known when the end was
    asked for before the answer of how far it got was."""

    level: int
    end: int | None = None
    over: bool = False
    _next_at: float = 0.0

    def ask(self, line: Line, now: float) -> None:
        """Both, one after the other, four times a second."""
        if self.over or now < self._next_at:
            return
        self._next_at = now + _ASK_EVERY_S
        fields = {"topic": TOPIC, "queueId": self.level - 1}
        for code, about in ((codes.GET_MAX_OFFSET, fields), (codes.GET_ALL_DELAY_OFFSET, {})):
            line.ask(Asked(code), code, about)

    def answered(self, asked: Asked, answer: Frame) -> None:
        """Answers come in any order; an old end says too little, never too much."""
        if answer.code != codes.SUCCESS:
            return
        if asked.code == codes.GET_MAX_OFFSET:
            self.end = int(answer.fields["offset"])
            return
        got = delivered(answer.body, self.level)
        if self.end is not None and got is not None:
            self.over = got >= self.end


def delivered(body: bytes, level: int) -> int | None:
    """How many of a level were put into their topics, of `{"offsetTable":{3:17},...}`, whose keys
    are bare numbers; None when the broker has none of it yet."""
    found = re.search(rb'[{,]\s*"?%d"?\s*:\s*(\d+)' % level, body)
    return int(found[1]) if found else None
